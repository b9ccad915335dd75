"""Memory of data preparation over many clips.

    python benchmarks/preparation_memory.py --clips 1000

Prepares a folder of that many short videos (hard links to ten drawn ones, of different sizes) with one worker process,
and prints ten times on the way what the worker and the process that hands out the work hold (resident memory, MB).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.page import ratio, table
from fomm.video import VideoWriter
from preprocess.synthetic.puppets import draw_clip, framing, random_identity, random_motion

FRAMES = 12


def write_videos(folder: Path, count: int) -> None:
    for index in range(count):
        path = folder / f"{index:05d}.mp4"
        if index >= 10:
            os.link(folder / f"{index % 10:05d}.mp4", path)
            continue
        person, motion = random_identity(index), random_motion(index, FRAMES)
        with VideoWriter(path, fps=25) as writer:
            for drawing in draw_clip(person, motion, 160 + 16 * index, framing(person, motion, scale=1.7)):
                writer.write(drawing.image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=1000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as scratch:
        videos, output = Path(scratch) / "videos", Path(scratch) / "out"
        write_videos(videos, clips)
        command = [sys.executable, "-m", "preprocess", "dataset", "--videos", str(videos), "--output", str(output)]
        options = ["--size", "128", "--min_frames", "8", "--workers", "1"]
        process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=sys.stderr)
        said, held, each = -1, [], max(1, clips // 10)
        while process.poll() is None:
            done = len(list((output / "records").glob("*.json")))
            if done // each > said:
                said = done // each
                parent = psutil.Process(process.pid)
                worker = max((child.memory_info().rss for child in parent.children(recursive=True)), default=0)
                held.append((done, worker / 1e6, parent.memory_info().rss / 1e6))
            time.sleep(1)
        table(["clips", "worker, MB", "parent, MB"], [[f"{value:.0f}" for value in row] for row in held])
        started = [row for row in held if row[0] > 0]  # before the first clip not all is loaded
        if len(started) > 1:
            (first, *before), (last, *after) = started[0], started[-1]
            ratio(f"memory of preparation, after {last} clips against {first}", sum(after) / sum(before))
        sys.exit(process.returncode)


if __name__ == "__main__":
    main()
