"""Files that are whole or not there, and their hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fomm.errors import InputError

PART = ".{}.part{}"  # 8 characters, suffix: short, since the name itself may be as long as may be


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside `path` (same suffix) that replaces it when the block succeeds.

    The block may create a file or a folder there. On any error, Ctrl-C included, what was written is removed and an
    existing `path` stays as it was.

    Raises:
        InputError: the folder does not exist and cannot be made, cannot be written, or the disk is full.
    """
    path = Path(path)
    beside = path.parent / PART.format(uuid.uuid4().hex[:8], path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(13, "no permission to write here", str(path.parent))
        yield beside
        if os.path.isdir(path) and os.path.isdir(beside):
            shutil.rmtree(path)
        os.replace(beside, path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename != str(beside):
            raise
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); choose another --output or free some space") from error
    finally:
        if os.path.isdir(beside):  # unlike Path.is_dir, no error for a name that is too long
            shutil.rmtree(beside, ignore_errors=True)
        elif os.path.lexists(beside):
            beside.unlink()


def remove_parts(*folders: Path, before: float | None = None) -> None:
    """Remove what processes that were killed had begun to write into the folders.

    Args:
        before: newer parts (seconds since the epoch) stay: they belong to somebody who is still writing.
    """
    for part in (part for folder in folders for part in folder.glob(PART.format("?" * 8, "*"))):
        with suppress(OSError):
            if before is None or part.stat().st_mtime < before:
                shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()


@contextmanager
def all_or_none(paths: Sequence[Path]) -> Iterator[None]:
    """On any error, Ctrl-C included, remove those of the files and folders that the block has made or replaced."""

    def inodes() -> list[int | None]:
        return [os.stat(path).st_ino if os.path.exists(path) else None for path in paths]

    before = inodes()
    try:
        yield
    except BaseException:
        for path, old, new in zip(paths, before, inodes(), strict=True):
            if new not in (None, old):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        raise


def hash_code(folder: Path) -> str:
    """Hex sha256 of all Python files below a folder: of their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in pieces so that memory stays flat."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
