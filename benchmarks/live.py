"""How many pictures a second the live page's server makes of a camera's: the studio alone, without browser and network.

    python benchmarks/live.py                                 # face and puppets in turns, the bundled portrait
    python benchmarks/live.py --checkpoints "[face]" --photo photo.jpg --clip clip.mp4

JPEG files go in and come out, as many at once as the page sends; contenders take turns, so that other work on the
machine meets all of them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
from jsonargparse import auto_cli

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from benchmarks.page import ratio, spread, table
from fomm.errors import run
from fomm.video import VideoReader
from studio.jobs import Stopped
from studio.live import Setting, as_jpeg
from studio.visitors import ASSETS, Studio

CAMERA_WH = (480, 360)


@dataclass(frozen=True)
class Options:
    """Measure.

    Args:
        checkpoints: names or files.
        photo: it is shown with at most 512 pixels a side.
        clip: stands for the camera.
        frames: in one turn.
        turns: of each contender.
        fast: the page's choice of a smaller picture.
    """

    checkpoints: list[str] = field(default_factory=lambda: ["face", "puppets"])
    photo: Path = ASSETS / "portrait.png"
    clip: Path = ASSETS / "speaker.mp4"
    frames: int = 100
    turns: int = 5
    fast: bool = False


def camera_pictures(clip: Path, count: int) -> list[bytes]:
    """JPEG files of `CAMERA_WH`, as the page sends them."""
    pictures: list[bytes] = []
    while len(pictures) < count:
        for frame in VideoReader(clip):
            width = round(frame.image.shape[1] * CAMERA_WH[1] / frame.image.shape[0])
            picture = cv2.resize(frame.image, (width, CAMERA_WH[1]), interpolation=cv2.INTER_AREA)
            side = max(0, (CAMERA_WH[0] - width) // 2)
            pictures.append(as_jpeg(cv2.copyMakeBorder(picture, 0, 0, side, side, cv2.BORDER_REPLICATE)))
    return pictures[:count]


async def drive(studio: Studio, name: str, pictures: list[bytes]) -> None:
    """Hand all pictures in, as many at once as the page does."""
    waiting = iter(pictures)

    async def some() -> None:
        for picture in waiting:
            await studio.drive(name, picture)

    await asyncio.gather(*(some() for _ in range(studio.live_frames_at_once)))


async def begin(studio: Studio, name: str, picture: bytes) -> None:
    while True:
        try:
            await studio.drive(name, picture)
            return
        except Stopped:
            await asyncio.sleep(0.05)


def main() -> None:
    options = auto_cli(Options, as_positional=False)
    pictures = camera_pictures(options.clip, options.frames)
    rates: dict[str, list[float]] = {name: [] for name in options.checkpoints}
    used: dict[str, list[float]] = {name: [] for name in options.checkpoints}
    with tempfile.TemporaryDirectory() as folder, closing(Studio(Path(folder))) as studio:
        visitors = {}
        for name in options.checkpoints:
            visitors[name] = studio.visitor(name)
            visitors[name].setting = Setting(str(options.photo), name, options.fast)
            asyncio.run(begin(studio, visitors[name].folder.name, pictures[0]))
        for _ in range(options.turns):
            for name, visitor in visitors.items():
                begun, spent = time.perf_counter(), time.process_time()
                asyncio.run(drive(studio, visitor.folder.name, pictures))
                rates[name].append(len(pictures) / (time.perf_counter() - begun))
                used[name].append(1000 * (time.process_time() - spent) / len(pictures))
    rows = [[name, spread(rate, "{:.1f}"), f"{median(used[name]):.1f}"] for name, rate in rates.items()]
    table(["checkpoint", "frames/s", "processor ms a frame"], rows)
    *others, last = options.checkpoints
    for name in others:
        turns = [a / b for a, b in zip(rates[name], rates[last], strict=True)]
        ratio(f"live, {name}, times as fast as {last}", turns)


if __name__ == "__main__":
    run(main)
