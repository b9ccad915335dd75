"""A plain folder of videos as a data set: its manifest is made once and kept in it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from fomm.errors import InputError
from fomm.files import hash_file
from fomm.manifest import Clip, write_manifest
from fomm.video import VIDEO_SUFFIXES, VideoReader, frame_files

MANIFEST_NAME = "manifest.csv"
HELD_OUT_EVERY = 10


def manifest_of_folder(folder: str | Path) -> Path:
    """The manifest of a folder of videos (or of folders of frames), made if it is not there yet.

    Each clip counts as an identity of its own; every tenth, and at least one, is held out for validation. Delete the
    manifest after adding videos.

    Raises:
        InputError: no such folder, fewer than two clips in it, or a clip that cannot be read.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        return manifest
    found = videos_in(folder)
    if len(found) < 2:
        raise InputError(
            f"{folder}: {len(found)} video(s), need at least 2 (one is held out); videos end in "
            f"{', '.join(VIDEO_SUFFIXES)}, or are folders of pictures"
        )
    held_out = {i for i in range(len(found)) if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1} or {len(found) - 1}
    write_manifest(manifest, [_clip(path, "val" if i in held_out else "train") for i, path in enumerate(found)])
    return manifest


def videos_in(folder: Path) -> list[Path]:
    """Videos and folders of frames in a folder, sorted.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of videos, or a manifest.csv")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES or (p.is_dir() and _frames(p)))


def _clip(path: Path, split: str) -> Clip:
    reader = VideoReader(path)
    frames = sum(1 for _ in reader)  # exact: headers only estimate
    return Clip(
        clip_id=path.name,
        path=path.name,
        identity=path.name,
        split=split,
        frames=frames,
        fps=reader.fps or Fraction(25),
        width=reader.width,
        height=reader.height,
        source_video=path.name,
        crop_rule="centre square, cut while reading",
        sha256="" if path.is_dir() else hash_file(path),
    )


def _frames(folder: Path) -> bool:
    try:
        return bool(frame_files(folder))
    except InputError:
        return False
