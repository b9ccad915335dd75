"""Files that are whole or not there, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import yaml

from fomm.errors import InputError

# What is being written is called .MACHINE-PROCESS-xxxx.part: whose it is can be told when that process was killed. It
# is short, since the name of the finished file may be as long as may be.
_PART = re.compile(r"\.(?P<machine>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{4}\.part(\..*)?")
_STRANGE_S = 7 * 24 * 3600.0  # whether processes of other machines live is not known; parts untouched for so long go


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside `path` (same suffix) that replaces it when the block succeeds.

    The block may create a file or a folder there. On any error, Ctrl-C included, what was written is removed and an
    existing `path` stays as it was, and a folder that was made for it is removed. What killed processes left in the
    folder is removed.

    Raises:
        InputError: the folder does not exist and cannot be made, cannot be written, or the disk is full; or another
            file that the block needs cannot be read or written.
    """
    path = Path(path)
    beside = path.parent / f".{_machine()}-{os.getpid()}-{secrets.token_hex(2)}.part{path.suffix}"
    made = [folder for folder in (path.parent, *path.parent.parents) if not os.path.exists(folder)]
    make_folder(path.parent)
    with suppress(OSError):
        _remove_stale_parts(path.parent.absolute())
    try:
        yield beside
        if os.path.isdir(path) and os.path.isdir(beside):
            _replace_folder(path, beside)
        else:
            os.replace(beside, path)
    except OSError as error:
        other = str(error.filename or beside)
        if other == str(path) or other.startswith(str(beside)):
            raise _unwritten(path, error) from error
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{other}: {error.strerror}; check this path, its permissions and the disk") from error
    finally:
        _remove(beside)
        with suppress(OSError):  # as it is after all went well: not empty
            for folder in made:
                folder.rmdir()


def require_new(folder: Path) -> None:
    """Raises InputError where a folder that is to be made is there already, and not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; give a new folder, or remove it first")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, to write into; raises InputError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written (no permission to write here); choose another --output")


def require_place(folder: Path) -> None:
    """Raises InputError where a folder could not be made or written into; makes nothing."""
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not place.is_dir():
        raise InputError(f"{folder}: cannot be written ({place} is not a folder); choose another --output")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written (no permission to write in {place}); choose another --output")


def _unwritten(path: Path, error: OSError) -> InputError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    action = "free some space or choose another --output" if full else "choose another --output"
    return InputError(f"{path}: cannot be written ({error.strerror or error}); {action}")


@contextmanager
def atomic_stream(path: str | Path) -> Iterator[BinaryIO]:
    """As `atomic_output`, for one file, which is on the disk before it takes its name: not even a machine that loses
    its power leaves less than one whole file, the old or the new."""
    with atomic_output(path) as part, open(part, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def remove_parts(*folders: Path, before: float | None = None) -> None:
    """Remove what processes that were killed had begun to write into the folders; parts that are newer than `before`
    (seconds since the epoch) stay: they belong to somebody who is still writing."""
    for part in (part for folder in folders for part in folder.glob(".*.part*") if _PART.fullmatch(part.name)):
        with suppress(OSError):
            if before is None or part.stat().st_mtime < before:
                _remove(part)


@cache  # once for each folder is enough, and some folders hold very many files
def _remove_stale_parts(folder: Path) -> None:
    for part in folder.iterdir():
        if found := _PART.fullmatch(part.name):
            with suppress(OSError):  # another process may be sweeping, too
                changed = max(path.stat().st_mtime for path in (part, *part.rglob("*")))
                ours = found["machine"] == _machine()
                if changed < time.time() - _STRANGE_S or (ours and _is_gone(int(found["process"]), changed)):
                    _remove(part)


@cache
def _machine() -> str:
    """Six characters for this machine, or rather for all processes whose numbers are seen from here."""
    numbering = "/proc/self/ns/pid"  # containers have their own
    name = f"{socket.gethostname()} {os.stat(numbering).st_ino if os.path.exists(numbering) else ''}"
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def _is_gone(process: int, since: float) -> bool:
    """Whether the process has ended that was there at a time; another may have its number by now."""
    try:
        return psutil.Process(process).create_time() > since + 60
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _remove(part: Path) -> None:
    if os.path.isdir(part):  # unlike Path.is_dir, no error for a name that is too long
        shutil.rmtree(part, ignore_errors=True)
    elif os.path.lexists(part):
        part.unlink()


def _replace_folder(old: Path, new: Path) -> None:
    """A folder takes the place of another: neither is gone for longer than two renamings take."""
    aside = new.with_name(f"{new.name}.old")
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """A new folder in the system's temporary one that nobody but this user may enter, gone after the block.

    What processes that were killed left there under the same prefix goes first.
    """
    place = Path(tempfile.gettempdir()).resolve()
    for left in place.glob(f"{prefix}-{_machine()}-*-*"):
        process = left.name.removeprefix(f"{prefix}-{_machine()}-").partition("-")[0]
        with suppress(OSError):
            if process.isdigit() and _is_gone(int(process), left.lstat().st_mtime):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{prefix}-{_machine()}-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


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


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds: plain values, lists and dictionaries.

    Raises:
        InputError: it cannot be read, is no YAML, or holds itself or so much within one another that nobody wrote it.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        json.dumps(content, default=str)  # which follows it to its ends
        return content
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, TypeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a readable YAML file ({reason}); correct it, or give another") from error


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
