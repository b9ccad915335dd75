"""A clip's motion as a small file, without a picture of who moved."""

from __future__ import annotations

import sys
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

from fomm.errors import InputError
from fomm.model.face.follow import INTERVAL_S, Followed, Follower
from fomm.model.face.motion import Face
from fomm.model.face.recording import Recording, recorded, write_motion
from fomm.progress import Bars, Progress, watched
from fomm.video import VideoReader, prefetch, read_frames
from preprocess.faces import FaceFinder
from preprocess.pairing import choose_track, doubts_about_track, track_driving
from preprocess.portraits import VIEW_PX, seek_start, views_through
from preprocess.track import joined


def motion(clip: str, *, output: str = "motion.json", track: int = 1) -> Path:
    """Record what the face in a clip does as a motion file, for `infer.py --driving motion.json`.

    The file holds numbers alone: how the head turns and how the face changes, from the frame on in which it is most at
    rest. No picture goes into it, no sound, and not the shape of that face.

    Args:
        clip: a video that shows a face.
        output: the motion file, .json.
        track: which face, from 1 (the one seen longest); the choices are listed if there are several.

    Returns:
        `output`.

    Raises:
        InputError: no video, no face, no such track, or it cannot be written.
    """
    path = Path(output)
    if path.suffix.lower() != ".json":
        raise InputError(f"--output {path}: motion files end in .json; choose such a name")
    reader, bars = VideoReader(clip), Bars()
    with FaceFinder() as finder, closing(bars):
        recording, _, doubts = record(reader, finder, track, bars)
    write_motion(path, recording)
    for doubt in [*reader.notes, *reader.warnings, *doubts]:
        print(f"warning: {doubt}", file=sys.stderr)
    seconds = float(recording.times[-1] + 1 / recording.fps)
    size = path.stat().st_size / 1000
    print(f"wrote {path}: {len(recording.faces)} frames, {seconds:.2f} s, {size:.0f} kB ({size / seconds:.1f} kB/s)")
    return path


def record(
    reader: VideoReader, finder: FaceFinder, number: int, progress: Progress
) -> tuple[Recording, Fraction, list[str]]:
    """The motion of track `number` of a clip, when it begins there (s), and what speaks against it, one sentence
    each."""
    tracks, frame_count, _ = track_driving(reader, finder, progress=progress)
    tracks = joined(tracks)
    track = choose_track(tracks, number, reader.path)
    doubts = doubts_about_track(tracks, track, frame_count)
    view, glance = views_through(track.crop(VIEW_PX), (reader.width, reader.height))
    start = seek_start(reader, track.start, track.stop, glance, None, finder, progress)
    if start is None:
        raise InputError(f"{reader.path}: no face is seen well enough to be recorded; give a clip that shows it larger")
    followed = Followed()
    interval_s = float(1 / reader.fps) if reader.fps else INTERVAL_S
    follower = Follower(finder, view(read_frames(reader.path, [start])[0]), interval_s=interval_s, followed=followed)
    times: list[Fraction] = []
    faces: list[Face] = []
    count = track.stop - track.start
    with closing(prefetch((glance(f), f.time) for f in islice(reader.lazy_frames(), track.start, track.stop))) as views:
        for picture, time in watched(views, "record", count, progress):
            face = follower(picture)
            assert face is not None, "a follower that was given its start has a face from there on"
            times.append(time)
            faces.append(recorded(face, follower.initial))
    if len(faces) == 1:
        doubts.append("has one frame, so nothing moves; give a clip")
    rising = [time - times[0] for time in times]
    return Recording(rising, faces), times[0], [f"{reader.path}: {d}" for d in [*doubts, *followed.doubts()]]
