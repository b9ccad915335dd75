"""Videos of people -> a set of heads, as the training of model `face` reads it (`fomm.training.face.data`).

Faces are found, followed and cropped as for every data set; what is kept of each are frames at 4 per second, with the
face's mesh. A head of the set is one face in up to 20 seconds of a video, a few frames of it spread over that time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.progress import Bars, Progress, silent, watched
from fomm.video import VIDEO_SUFFIXES, LazyFrame, VideoReader
from fomm.video_folder import videos_in
from preprocess.crop import Crop
from preprocess.faces import NUM_REFINED, FaceFinder, Lookout
from preprocess.track import Track, find_tracks

NAME = "faces"
SIZE, FRAMES = 256, 8  # of the square frames in pixels; of each head
INTERVAL_S = Fraction(1, 4)  # between frames that are kept
MOST_KEPT = 80  # frames that become heads together: 20 seconds


class Seen(NamedTuple):
    """A face in a frame: the crop (S, S, 3) uint8 and its mesh (478, 3) in the crop's pixels."""

    frame: np.ndarray
    mesh: np.ndarray


def write_faces(folder: str | Path) -> Path:
    """Write the set of the faces in a folder of videos, as `faces` in it. Delete that after adding videos.

    Returns: the set's folder.

    Raises:
        InputError: no such folder, no video in it, one that cannot be read, or too few faces.
    """
    folder = Path(folder)
    videos, output, heads = videos_in(folder), folder / NAME, 0
    if not videos:
        raise InputError(
            f"{folder}: no video in it; videos end in {', '.join(VIDEO_SUFFIXES)}, or are folders of pictures"
        )
    bars = Bars()
    with FaceFinder() as finder, atomic_output(output) as part:
        part.mkdir()
        with (
            _Growing(part / "frames.npy", (FRAMES, SIZE, SIZE, 3), np.uint8) as frames,
            _Growing(part / "mesh.npy", (FRAMES, NUM_REFINED, 3), np.float32) as mesh,
        ):
            for video in videos:
                for head in heads_in(video, finder, bars):
                    frames.add([seen.frame for seen in head])
                    mesh.add([seen.mesh for seen in head])
                    heads += 1
        bars.close()
        if heads < 2:
            raise InputError(
                f"{folder}: faces for {heads} head(s) are seen in its {len(videos)} video(s), need 2; each takes "
                f"{float(FRAMES * INTERVAL_S):g} seconds of a face that can be seen well"
            )
    return output


def heads_in(video: Path, finder: FaceFinder, progress: Progress = silent) -> Iterator[list[Seen]]:
    """The heads of a video, `FRAMES` frames of each."""
    reader = VideoReader(video)
    looked = watched(reader.lazy_frames(), f"{video.name}: faces", reader.frame_count, progress)
    tracks = find_tracks(looked, Lookout(finder))
    if not tracks:
        return
    following = [_Following(track) for track in tracks]
    for index, frame in enumerate(watched(reader.lazy_frames(), f"{video.name}: meshes", reader.frame_count, progress)):
        for one in following:
            yield from one.look(index, frame, finder)
    for one in following:
        yield from deal(one.kept)


class _Following:
    """One face on its way through the video."""

    def __init__(self, track: Track) -> None:
        self._track, self._crop = track, track.crop(SIZE)
        self._due = Fraction(-1)
        self.kept: list[Seen] = []

    def look(self, index: int, frame: LazyFrame, finder: FaceFinder) -> Iterator[list[Seen]]:
        """Keep what is due in this frame, and hand out heads when there is enough."""
        if not self._track.start <= index < self._track.stop or frame.time < self._due:
            return
        self._due = (frame.time // INTERVAL_S + 1) * INTERVAL_S
        seen = _seen(self._crop, frame, finder)
        if seen is not None:
            self.kept.append(seen)
        if len(self.kept) == MOST_KEPT:
            yield from deal(self.kept)
            self.kept = []


def _seen(crop: Crop, frame: LazyFrame, finder: FaceFinder) -> Seen | None:
    picture = crop.apply(frame.image)
    mesh = finder.mesh(picture)
    return None if mesh is None else Seen(picture, mesh)


def deal(kept: Sequence[Seen]) -> Iterator[list[Seen]]:
    """Heads of `FRAMES` frames, each spread over all that were kept: [0, 2, 4, ...] and [1, 3, 5, ...] of 16."""
    count = len(kept) // FRAMES
    for first in range(count):
        yield list(kept[first : count * FRAMES : count])


class _Growing:
    """An .npy file that grows by rows of one shape."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type) -> None:
        self._shape, self._rows = shape, 0
        self._dtype: np.dtype = np.dtype(dtype)
        self._stream = open(path, "wb")
        self._write_header()

    def add(self, row: Sequence[np.ndarray]) -> None:
        self._stream.write(np.ascontiguousarray(row, self._dtype).reshape(self._shape).tobytes())
        self._rows += 1

    def _write_header(self) -> None:
        self._stream.seek(0)
        # numpy leaves room in it for a greater number of rows
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stream:
            if error is None:
                self._write_header()
