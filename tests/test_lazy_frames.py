"""Frames that are converted only where they are looked at, and files that are entered late, are the same frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fomm.video import VideoReader, VideoWriter

CLIPS = [
    "drive_audio.mp4", "drive_hevc10.mp4", "drive_phone_rotated.mp4", "drive_recorder_vfr.webm", "drive_sar_odd.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_parts_and_thumbnails_are_those_of_the_picture(media: Path, name: str) -> None:
    """Also where the file is turned, has 10 bits, or pixels that are not square."""
    reader, rng = VideoReader(media / name), np.random.default_rng(0)
    for _, frame in zip(range(6), reader.lazy_frames(), strict=False):
        image = frame.image
        left, top = int(rng.integers(reader.width - 40)), int(rng.integers(reader.height - 40))
        right, bottom = int(rng.integers(left + 1, reader.width)), int(rng.integers(top + 1, reader.height))
        assert (frame.region((left, top, right, bottom)) == image[top:bottom, left:right]).all()
        small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX), float)
        assert np.abs(frame.thumbnail(64) - small).mean() < 4
    whole = (0, 0, reader.width, reader.height)
    assert (frame.region(whole) == image).all()


def test_pictures_have_parts_too(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "frames") as writer:
        writer.write(np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8))
    (frame,) = VideoReader(tmp_path / "frames").lazy_frames()
    assert (frame.region((3, 5, 20, 30)) == frame.image[5:30, 3:20]).all() and frame.thumbnail(8).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["drive_big_motion.mp4", "drive_recorder_vfr.webm", "drive_hevc10.mp4"])
def test_entering_late_gives_the_same_times_and_pictures(media: Path, name: str) -> None:
    reader = VideoReader(media / name)
    times = [frame.time for frame in reader.lazy_frames()]
    for index in (1, len(times) // 2, len(times) - 1):
        late = list(reader.lazy_frames(since=times[index]))
        assert [frame.time for frame in late] == times[len(times) - len(late) :] and late[0].time <= times[index]
        (there,) = (frame for frame in late if frame.time == times[index])
        (expected,) = reader.frames(index, index + 1)
        assert (there.image == expected.image).all()


def test_one_thread_writes_the_same_bytes_wherever_it_runs(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, fps=Fraction(25), keyframe_every=8, threads=1) as writer:
            for frame in noise:
                writer.write(frame)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert b"threads=1 " in (tmp_path / "a.mp4").read_bytes()  # x264 says so
