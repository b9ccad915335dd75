"""One file from its mirrors: resumed when broken off, checked by hash, once per machine. Imports no torch.

Files are kept in the cache folder (`$FOMM_CACHE`, else the platform's). Scam pages carry the released files' names, so
where a hash is known nothing is used before it matches; where none is, the loader's checks stand alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import filelock
import pooch
import requests
from tqdm import tqdm

from fomm.errors import InputError, MissingWeightsError
from fomm.files import hash_file

TIMEOUT_S = (10, 30)  # to connect, and to wait for the next bytes
ATTEMPTS = 3  # broken connections in a row, without a byte gained, after which it is given up


@dataclass(frozen=True)
class RemoteFile:
    """A file that has a name here, and addresses elsewhere."""

    name: str  # what people call it
    file: str  # its file name, which it keeps wherever it is found
    mirrors: tuple[str, ...] = ()  # addresses of the file, tried in order
    md5: str | None = None  # hex digest of the file; none published for most


def cache_folder() -> Path:
    """Where fetched checkpoints are kept: `$FOMM_CACHE`, else the platform's cache folder."""
    return Path(os.environ.get("FOMM_CACHE") or pooch.os_cache("fomm")).expanduser()


def fetch(file: RemoteFile, folder: Path | None = None, *, progress: bool = True) -> Path:
    """The file in the cache folder, downloaded from the first mirror that gives it.

    A broken download is resumed, within a run and by the next run (its part stays in the cache folder). Processes
    that want the same file wait for one that downloads it.

    Raises:
        InputError: the file in the cache has a wrong hash, or the folder cannot be written.
        MissingWeightsError: no mirror gives the file; says what was tried and where to put it by hand.
    """
    folder = folder or cache_folder()
    path = folder / file.file
    if os.path.exists(path):
        return _checked(path, file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{file.file}.lock"):
            if path.exists():
                return _checked(path, file)
            tried = [_try_mirror(file, url, folder, progress) for url in file.mirrors if not path.exists()]
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); free some space or set FOMM_CACHE") from error
    if path.exists():
        return path
    md5 = f"its md5 must be {file.md5}" if file.md5 else "its hash is not known"
    tries = "; ".join(tried) or "no address of it is known"
    action = "download it from one of these" if file.mirrors else "find it"
    raise MissingWeightsError(
        f"{file.name}: {file.file} is not on this machine and could not be fetched ({tries}); "
        f"{action}, and save it, not unpacked, as {path.absolute()} ({md5})"
    )


def _checked(path: Path, file: RemoteFile) -> Path:
    if file.md5 and (found := hash_file(path, "md5")) != file.md5:
        inspect(path)
        raise InputError(
            f"{path}: md5 {found}, that of the released {file.name} is {file.md5}; this is another or an incomplete "
            "file: delete it and run again to download it (to use it nevertheless, give its path)"
        )
    return path


def _try_mirror(file: RemoteFile, url: str, folder: Path, progress: bool) -> str:
    """Download to `folder`; returns why it failed."""
    part = folder / f".{file.file}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
    pooch.get_logger().setLevel("ERROR")  # its messages would break the progress bar; ours say the same
    try:
        pooch.retrieve(
            url,
            known_hash=f"md5:{file.md5}" if file.md5 else None,
            fname=file.file,
            path=folder,
            downloader=ResumingDownload(part, progress=progress),
        )
    except requests.RequestException as error:
        return f"{url}: {_reason(error)}"
    except (InputError, ValueError):  # no checkpoint, or pooch found another hash: never used, never resumed
        part.unlink(missing_ok=True)
        return f"{url}: gives another file"
    return ""


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "not an https address"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "connection broken" if isinstance(error, requests.exceptions.ChunkedEncodingError) else "cannot be reached"


@dataclass
class ResumingDownload:
    """A downloader for pooch that goes on where a broken connection left off (HTTP ranges).

    Only https is spoken, after redirects too; plain http is for this machine itself (127.0.0.1).
    """

    part: Path  # where the unfinished file is kept; taken up again if it exists
    progress: bool  # show a bar

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        failures, version = 0, None
        with requests.Session() as session:
            if not re.match(r"http://127\.0\.0\.1[:/]", url):
                session.adapters.pop("http://")
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "fomm"})
            while True:
                had = self._size()
                try:
                    version = self._continue(session, url, version)
                    break
                except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, requests.Timeout):
                    failures = 0 if self._size() > had else failures + 1
                    if failures >= ATTEMPTS or self._size() == 0:
                        raise
                    time.sleep(failures)
        inspect(self.part)
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, session: requests.Session, url: str, version: str | None) -> str | None:
        """Fetch what is still missing; returns the ETag of what the part holds."""
        start = self._size()
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and version:
            headers["If-Range"] = version  # the file must not change under us
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 416 and start:  # nothing is missing, or the part is of another file
                if response.headers.get("Content-Range") == f"bytes */{start}":
                    return version
                self.part.unlink()
                return self._continue(session, url, None)
            response.raise_for_status()
            if "text/html" in response.headers.get("Content-Type", ""):
                raise InputError(f"{url}: answers with a web page instead of the file")
            resumed = response.status_code == 206
            done = start if resumed else 0
            total = done + int(response.headers.get("Content-Length", 0)) or None
            name = url.rsplit("/", 1)[-1]
            bar = tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, disable=not self.progress)
            with bar, open(self.part, "ab" if resumed else "wb") as stream:
                for piece in response.iter_content(1 << 16):
                    stream.write(piece)
                    bar.update(len(piece))
            return response.headers.get("ETag")


def inspect(path: Path) -> str:
    """Look at how a file begins: "safetensors", "zip" (today's torch.save) or "pickle" (torch.save before 1.6).

    Raises:
        InputError: no such file, not readable, or recognisably something else: a folder, an empty file, a web page,
            a Git LFS pointer, a tar archive.
    """
    original = "use the file as it was downloaded (.pth.tar is only a name, it is not unpacked)"
    try:
        if path.is_dir():
            unpacked = any(path.rglob("data.pkl"))
            what = "an unpacked checkpoint, a folder" if unpacked else "a folder, not a file"
            raise InputError(f"{path}: this is {what}; {original}")
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(1024)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    text = head.lower()
    if not size:
        raise InputError(f"{path}: an empty file; download it again")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
    if re.search(rb"^\s*(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)", text):
        raise InputError(
            f"{path}: a web page saved under this name (a quota or log-in page, perhaps); delete it and download again"
        )
    if head[257:262] == b"ustar":
        raise InputError(f"{path}: really a tar archive, not a checkpoint; unpack it and give the file inside")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."):  # torch.save's magic number, pickled
        return "pickle"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    raise InputError(f"{path}: not a checkpoint (it begins with {head[:12]!r}); {original}")
