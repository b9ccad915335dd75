"""The page for some time with eight visitors who upload, break off, look, animate, go live, leave and come back.

    make soak MINUTES=30      (PYTHONPATH=.:tests python tests/soak.py MINUTES)

Prints one table: memory, open files, threads and files of visitors over time, and the answers. Exit code 1 if one of
the first four grows, or an answer is an error of the server's.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
from PIL import Image

from fomm.video import VideoReader

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SPEAKER = ROOT / "fomm" / "assets" / "portrait.png", ROOT / "fomm" / "assets" / "speaker.mp4"
VISITORS = 8
ROWS = 15  # of the table


class Visitor(threading.Thread):
    """Comes, does one thing after the other, leaves, and comes back as somebody else."""

    def __init__(self, url: str, number: int, end: float, answers: Counter[str], pictures: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.url, self.end, self.answers, self.pictures = url, end, answers, pictures
        self.random = random.Random(number)
        config = requests.get(f"{url}/config", timeout=60).json()
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        events = [event for event in config["dependencies"] if len(event["inputs"]) > 5]
        self.defaults = [values[name] for name in events[0]["inputs"][2:]]  # the first two are photo and video
        self.looks = [event["id"] for event in events if len(event["outputs"]) == 3]
        self.animates = [event["id"] for event in events if len(event["outputs"]) > 3]
        self.chooses = [event["id"] for event in config["dependencies"] if len(event["inputs"]) == 5]

    def run(self) -> None:
        while time.monotonic() < self.end:
            session = f"soak{self.random.getrandbits(64):x}"
            heart = requests.get(f"{self.url}/gradio_api/heartbeat/{session}", stream=True, timeout=600)
            try:
                for _ in range(self.random.randint(1, 5)):
                    self.random.choice((self.look, self.look, self.animate, self.live, self.break_off))(session)
                    if time.monotonic() > self.end:
                        break
            except requests.RequestException as error:
                self.answers[f"{type(error).__name__}"] += 1
            finally:
                heart.close()  # leaves

    def upload(self, path: Path) -> dict[str, Any] | None:
        content = path.read_bytes()
        if self.random.random() < 0.5:  # of one's own; equal files of several visitors are one file
            content += self.random.randbytes(8)
        answer = requests.post(f"{self.url}/gradio_api/upload", files={"files": (path.name, content)}, timeout=120)
        self.answers[f"upload {answer.status_code}"] += 1
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}} if answer.ok else None

    def call(self, session: str, event: int, data: list[Any], *, leave_after_s: float = 300) -> dict[str, Any]:
        """The last message of an event; {} where the visitor does not wait for it."""
        body = {"data": data, "fn_index": event, "session_hash": session}
        joined = requests.post(f"{self.url}/gradio_api/queue/join", json=body, timeout=60)
        self.answers[f"join {joined.status_code}"] += 1
        if not joined.ok:
            return {}
        begun = time.monotonic()
        address = f"{self.url}/gradio_api/queue/data?session_hash={session}"
        with requests.get(address, stream=True, timeout=300) as lines:
            for line in lines.iter_lines():
                if time.monotonic() - begun > leave_after_s:
                    return {}
                if line.startswith(b"data: "):
                    message = json.loads(line[6:])
                    if message["msg"] == "process_completed":
                        self.answers[f"event {'done' if message['success'] else 'failed'}"] += 1
                        return message
        return {}

    def inputs(self) -> list[Any] | None:
        photo, video = self.upload(PORTRAIT), self.upload(SPEAKER)
        if photo is None or video is None:
            return None
        return [photo, video, *self.defaults]

    def look(self, session: str) -> None:
        if data := self.inputs():
            self.call(session, self.looks[0], data)

    def animate(self, session: str) -> None:
        if data := self.inputs():
            self.call(session, self.animates[0], data, leave_after_s=self.random.choice((3, 60)))

    def live(self, session: str) -> None:
        photo = self.upload(PORTRAIT)
        message = self.call(session, self.chooses[0], [photo, "face", True, "all", 1]) if photo else {}
        names = re.findall(r'"name": "([\w-]{20,})"', json.dumps(message))
        for picture in self.pictures[:10] if names else ():
            answer = requests.post(f"{self.url}/live/{names[0]}", data=picture, timeout=120)
            self.answers[f"live {answer.status_code}"] += 1

    def break_off(self, session: str) -> None:
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 200000000\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
                + bytes(3 << 20)
            )
        self.answers["upload broken off"] += 1


def main() -> None:
    minutes = float(sys.argv[1])
    pictures = []
    for frame in VideoReader(SPEAKER).frames(0, 10):
        file = io.BytesIO()
        Image.fromarray(frame.image).save(file, "JPEG")
        pictures.append(file.getvalue())
    with tempfile.TemporaryDirectory() as place, open(Path(place) / "log", "w+") as log:
        server = psutil.Popen(
            [sys.executable, "app.py", "--port", "0", "--browser", "false"], cwd=ROOT, stdout=log,
            stderr=subprocess.STDOUT, env={**psutil.Process().environ(), "TMPDIR": place},
        )  # fmt: skip
        while not (found := re.search(r"Studio: (\S+)", Path(log.name).read_text())):
            assert server.is_running() and server.status() != psutil.STATUS_ZOMBIE, Path(log.name).read_text()
            time.sleep(0.5)
        (folder,) = Path(place).glob("fomm-studio-*")
        answers: Counter[str] = Counter()
        begun = time.monotonic()
        end = begun + 60 * minutes
        visitors = [Visitor(found[1], number, end, answers, pictures) for number in range(VISITORS)]
        for visitor in visitors:
            visitor.start()
        rows = []
        print("   min   memory MB   open files   threads   visitors' files   MB   answers")
        for row in range(ROWS):
            time.sleep(max(0.0, begun + (row + 1) * 60 * minutes / ROWS - time.monotonic()))
            files = [Path(top) / name for top, _, names in os.walk(folder) for name in names]
            rows.append([server.memory_info().rss / 2**20, server.num_fds(), server.num_threads(), len(files)])
            held = 0.0
            for path in files:
                with suppress(OSError):  # it goes at this moment
                    held += path.stat().st_size / 2**20
            memory, fds, threads, count = rows[-1]
            now = (time.monotonic() - begun) / 60
            print(
                f"{now:6.1f} {memory:11.0f} {fds:12d} {threads:9d} {count:17d} {held:4.0f} {sum(answers.values()):9d}",
                flush=True,
            )
        for visitor in visitors:
            visitor.join(600)
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        said = Path(log.name).read_text()
        left = folder.exists()
    print("  ".join(f"{answer}: {count}" for answer, count in sorted(answers.items())))
    table = np.array(rows)
    early, late = table[ROWS // 3 : 2 * ROWS // 3].mean(0), table[2 * ROWS // 3 :].mean(0)
    grows = late > 1.15 * early + np.array([50, 15, 8, 20])
    wrong = [answer for answer in answers if re.search(r" 5\d\d|Error|failed", answer)]
    faults = [name for name, more in zip(("memory", "open files", "threads", "files"), grows, strict=True) if more]
    faults += wrong + (["exit code"] if code else []) + (["a traceback"] if "Traceback" in said else [])
    faults += ["files are left"] if left else []
    if faults:
        print(said[-3000:], file=sys.stderr)
    print("flat" if not faults else f"NOT FLAT: {', '.join(faults)}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
