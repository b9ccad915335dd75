"""A video as source: each of its frames is animated. Its own head motion stays; the driver gives the expression."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from fomm.animator.face import INTERVAL_S
from fomm.animator.render import Rendered
from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.model.face import Edit, Recording, Sitter, Strength
from fomm.model.face import Face as Mesh
from fomm.model.face.direct import redirect
from fomm.model.face.edit import REST
from fomm.model.face.follow import Followed, Follower
from fomm.model.face.mesh import OVAL
from fomm.model.face.motion import ramp
from fomm.model.face.recording import read_motion
from fomm.progress import Progress, silent
from fomm.video import Frame, VideoReader, prefetch, read_frames
from preprocess.crop import Crop, Region, transform
from preprocess.faces import NUM_LANDMARKS, Face
from preprocess.motion import record
from preprocess.pairing import choose_track, doubts_about_track, track_driving
from preprocess.portraits import VIEW_PX, region_around, seek_start, views_through
from preprocess.track import Track, joined
from studio.animation import Making, Result, check_size
from studio.portrait import portrait_tools, role_of
from studio.tools import PortraitTools, Tools

FEATHER = 0.03  # of a face's height, standard deviation
PICTURE_CHANGES = (1.0, 4.0)  # grey levels: up to the first a place is taken to be still, from the second on to be new
CALM_SHARE = 0.15  # of the way to what a new frame shows, where the picture is still
FADE_S = Fraction(2, 5)  # before the driver's end the source comes back to itself


def animate_video(
    source: str | Path,
    driver: Edit | Path,
    output: str | Path,
    settings: AnimationSettings,
    tools: Tools,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a source video and a driving video, motion file or edit to a finished file with its sidecar.

    The result is as long as the source. Where the driver ends earlier the source goes on by itself; what the driver
    does after the source's end is left out. Frames before the chosen face comes, after it goes (as at a cut) and those
    in which it is not seen stay as they are.

    Args:
        settings: of which `face` (which face of the source), `track` (of the driver), `region`, `strength`, `sound`,
            `audio`, `side_by_side` and `label` matter.
        tools: of a model `face`.
        progress, warn: as for `studio.animation.animate_files`.

    Raises:
        InputError: anything wrong with the files, one line that says what to do.
    """
    begun, source, output = time.monotonic(), Path(source), Path(output)
    reader = VideoReader(source)
    tools = portrait_tools(tools, "--source with a video")
    if not settings.crop or settings.embed is False:
        raise InputError("--crop false and --embed false: a video as source is always animated whole; leave them out")
    check_size(source, reader.width, reader.height)
    work = Making({"source": source, role_of(driver): driver}, output, settings, tools, progress, warn, begun)
    settings = work.settings

    recording, sound, begins, doubts = driver_of(driver, settings, tools, progress)
    if settings.sound == "source":
        sound, begins = reader, Fraction(0)
    tracks, frame_count, _ = track_driving(reader, tools.faces, progress=progress)
    tracks = joined(tracks)
    track = choose_track(tracks, 1 if settings.face is None else settings.face, source, "--face")
    seen = doubts_about_track(tracks, track, frame_count, "--face", "the other frames stay as they are")
    work.tell([*reader.notes, *doubts, *(f"{source}: {said}" for said in seen)])
    followed = Followed()

    def met(rendered: Rendered) -> list[str]:
        said = [*reader.warnings, *rendered.warnings]
        if not followed.unseen:
            return said
        share = f"{followed.unseen} of {followed.frames} frames"
        return [f"{source}: the face is not seen, or covered, in {share}: those stay as they are", *said]

    return work.finish(
        animated(reader, track, recording, tools, settings, followed, progress),
        reader.frame_count,
        met,
        {"source_frames": {"start": track.start, "stop": track.stop}},
        fps=reader.fps,
        time_base=reader.time_base,
        sound=sound,
        sound_start=begins,
        paste=lambda picture: picture,
        shown=lambda frame: (frame.image, frame.image),
    )


def driver_of(
    driver: Edit | Path, settings: AnimationSettings, tools: PortraitTools, progress: Progress
) -> tuple[Recording | Edit, VideoReader | None, Fraction, list[str]]:
    """What drives: a motion, or an edit that stays; whose sound it has, and when it begins there (s); what speaks
    against it."""
    if isinstance(driver, Edit):
        return driver, None, Fraction(0), []
    if driver.suffix.lower() == ".json":
        return read_motion(driver), None, Fraction(0), []
    reader = VideoReader(driver, video_stream=settings.video_stream, audio_stream=settings.audio_stream)
    check_size(driver, reader.width, reader.height)
    recording, begins, doubts = record(reader, tools.faces, settings.track, progress)
    return recording, reader, begins, [*reader.notes, *doubts]


def animated(
    reader: VideoReader,
    track: Track,
    recording: Recording | Edit,
    tools: PortraitTools,
    settings: AnimationSettings,
    followed: Followed,
    progress: Progress,
) -> Generator[tuple[Frame, np.ndarray]]:
    """Each frame of the source with what becomes of it."""
    crop = track.crop(VIEW_PX)
    view, glance = views_through(crop, (reader.width, reader.height))
    start = seek_start(reader, track.start, track.stop, glance, None, tools.faces, progress)
    if start is None:
        raise InputError(
            f"{reader.path}: no face is seen well enough to be animated; give a video that shows it larger"
        )
    interval_s = float(1 / reader.fps) if reader.fps else INTERVAL_S
    initial = view(read_frames(reader.path, [start])[0])
    follower = Follower(tools.faces, initial, interval_s=interval_s, followed=followed)
    rest = in_frame(follower.initial, crop)
    strength = Strength(**settings.strengths)
    still = recording.face() if isinstance(recording, Edit) else REST
    outline = Outline()
    with closing(prefetch(reader.frames())) as frames:
        for index, frame in enumerate(frames):
            made = frame.image
            if track.start <= index < track.stop:
                unseen = followed.unseen
                face = follower(view(frame.image))
                left = Fraction(1) if isinstance(recording, Edit) else (recording.end - frame.time) / FADE_S
                if face is not None and followed.unseen == unseen and left > 0:
                    now = Strength(*(min(float(left), 1.0) * one for one in strength))
                    driving = recording.at(frame.time) if isinstance(recording, Recording) else still
                    made = redirected(frame.image, in_frame(face, crop), rest, driving, now, tools, outline)
            yield frame, made


def redirected(
    image: np.ndarray,
    current: Mesh,
    rest: Mesh,
    driving: Mesh,
    strength: Strength,
    tools: PortraitTools,
    outline: Outline,
) -> np.ndarray:
    """A frame (H, W, 3) uint8 whose face follows `driving` as far as `strength` says; `outline` knows those before."""
    moved = redirect(current, rest, driving, REST, strength)
    face = Face(current.landmarks[:NUM_LANDMARKS, :2].astype(np.float32), 1.0, 0.0, 0.0)
    region = region_around(face, image.shape, 0.0)
    # Only a head that moves uncovers what is behind it.
    person, edges = tools.faces.person_at(image, face, region) if strength.pose else None, None
    if person is not None:
        person, edges = outline(image, person, region)
    away = np.array([region.left, region.top, 0.0])
    portrait = tools.animator.portrait(Sitter(region.of(image), current.landmarks - away, person, edges))
    pose = moved.pose._replace(shift=moved.pose.shift - away)
    moved = moved._replace(landmarks=moved.landmarks - away, pose=pose)
    made = portrait(moved)
    if not strength.pose:
        made = within_face(region.of(image), made, portrait.source.landmarks, moved.landmarks)
    return region.put(image, made)


class Outline:
    """What a person's outline is found by, calm where the picture is: by one frame and its noise alone, it trembles.

    Call: for each frame (H, W, 3) uint8, in order, how surely each pixel of a part of it shows the person (h, w) in
    [0, 1], and that part -> the same, calmed, and that part of the picture (h, w, 3) uint8 with less noise.
    """

    def __init__(self) -> None:
        self._grey: np.ndarray | None = None  # of the frame before, smooth
        self._last: np.ndarray | None = None  # (H, W, 4) float32: colours and the person; NaN where not looked for

    def __call__(self, image: np.ndarray, person: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)
        now = np.dstack([image, np.full(grey.shape, np.nan)]).astype(np.float32)
        part = now[region.top : region.bottom, region.left : region.right]
        part[..., 3] = person
        if self._grey is not None and self._last is not None:
            share = np.maximum(CALM_SHARE, ramp(np.abs(grey - self._grey), *PICTURE_CHANGES))[..., None]
            known = np.isfinite(self._last) & np.isfinite(now)
            np.copyto(now, self._last + share * (now - self._last), where=known)
        self._grey, self._last = grey, now
        return part[..., 3].copy(), np.round(part[..., :3]).astype(np.uint8)


def within_face(image: np.ndarray, made: np.ndarray, *faces: np.ndarray) -> np.ndarray:
    """`made` (H, W, 3) uint8 inside the outlines of these faces (478, 3), `image` outside, feathered.

    What a face does moves the skin around it along, and with it what is behind the head.
    """
    mask = np.zeros(image.shape[:2], np.float32)
    for landmarks in faces:
        cv2.fillPoly(mask, [np.round(landmarks[OVAL, :2]).astype(np.int32)], 1.0)
    side = float(np.ptp(faces[0][OVAL, 1]))
    mask = cv2.GaussianBlur(mask, (0, 0), FEATHER * side)
    return cv2.blendLinear(made, np.ascontiguousarray(image), mask, 1 - mask)


def in_frame(face: Mesh, crop: Crop) -> Mesh:
    """A face that was seen in a crop, in the pixels of its frame."""
    landmarks = face.landmarks * (crop.side_px / crop.size)  # depths
    landmarks[:, :2] = transform(crop.inverse, face.landmarks[:, :2])
    return Mesh(landmarks)
