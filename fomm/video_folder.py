"""A plain folder of videos as a data set: its manifest is made once and kept in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
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

    The name of the first sub-folder is the identity, else the clip's own name is, as in `preprocess dataset`; where all
    clips are of one identity, each counts as one. Every tenth identity, and at least one, is held out for validation.
    Delete the manifest after adding videos.

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
    names = [path.relative_to(folder) for path in found]
    identities = [name.parts[0] for name in names]
    if len(set(identities)) < 2:
        identities = [name.as_posix() for name in names]
    order = sorted(set(identities), key=identities.index)
    held_out = set(order[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] or order[-1:])
    clips = [_clip(folder, name, identity, "val" if identity in held_out else "train")
             for name, identity in zip(names, identities, strict=True)]  # fmt: skip
    write_manifest(manifest, clips)
    return manifest


def videos_in(folder: Path) -> list[Path]:
    """Videos and folders of frames in a folder and its sub-folders, sorted; hidden ones are left out.

    Links to folders are not followed.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of videos, or a manifest.csv")
    found = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        clips = [name for name in folders if name[0] != "." and _frames(here / name)]
        folders[:] = [name for name in folders if name[0] != "." and name not in clips]
        found += [here / name for name in (*clips, *video_names(files))]
    return sorted(found)


def video_names(names: Sequence[str]) -> list[str]:
    """Of names of files those of videos; hidden ones are left out."""
    return [name for name in names if name.lower().endswith(VIDEO_SUFFIXES) and name[0] != "."]


def _clip(folder: Path, name: Path, identity: str, split: str) -> Clip:
    path = folder / name
    reader = VideoReader(path)
    frames = sum(1 for _ in reader)  # exact: headers only estimate
    return Clip(
        clip_id="#".join(name.parts),
        path=name.as_posix(),
        identity=identity,
        split=split,
        frames=frames,
        fps=reader.fps or Fraction(25),
        width=reader.width,
        height=reader.height,
        source_video=name.as_posix(),
        crop_rule="centre square, cut while reading",
        sha256="" if path.is_dir() else hash_file(path),
    )


def _frames(folder: Path) -> bool:
    try:
        return bool(frame_files(folder))
    except InputError:
        return False
