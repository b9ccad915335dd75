"""Videos of people -> a set of heads, as the training of model `face` reads it (`fomm.training.face.data`).

Faces are found, followed and cropped as for every data set; what is kept of each are frames at 4 per second, with the
face's mesh. A head of the set is one face in up to 20 seconds of a video, a few frames of it spread over that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.progress import Bars, Progress, silent, watched
from fomm.video import VIDEO_SUFFIXES, LazyFrame, VideoReader
from fomm.video_folder import videos_in
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
            _growing(part / "frames.npy", (FRAMES, SIZE, SIZE, 3), np.uint8) as add_frames,
            _growing(part / "mesh.npy", (FRAMES, NUM_REFINED, 3), np.float32) as add_meshes,
        ):
            for video in videos:
                for head in heads_in(video, finder, bars):
                    add_frames([seen.frame for seen in head])
                    add_meshes([seen.mesh for seen in head])
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
        picture = self._crop.apply(frame.image)
        mesh = finder.mesh(picture)
        if mesh is not None:
            self.kept.append(Seen(picture, mesh))
        if len(self.kept) == MOST_KEPT:
            yield from deal(self.kept)
            self.kept = []


def deal(kept: Sequence[Seen]) -> Iterator[list[Seen]]:
    """Heads of `FRAMES` frames, each spread over all that were kept: [0, 2, 4, ...] and [1, 3, 5, ...] of 16."""
    count = len(kept) // FRAMES
    for first in range(count):
        yield list(kept[first : count * FRAMES : count])


@contextmanager
def _growing(path: Path, shape: tuple[int, ...], kind: type) -> Iterator[Callable[[Sequence[np.ndarray]], None]]:
    """An .npy file that grows by rows of one shape: yields what adds one."""
    rows = 0
    dtype: np.dtype = np.dtype(kind)

    def write_header() -> None:
        stream.seek(0)
        # numpy leaves room in it for a greater number of rows
        header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(stream, header)

    def add(row: Sequence[np.ndarray]) -> None:
        nonlocal rows
        stream.write(np.ascontiguousarray(row, dtype).reshape(shape).tobytes())
        rows += 1

    with open(path, "wb") as stream:
        write_header()
        yield add
        write_header()
