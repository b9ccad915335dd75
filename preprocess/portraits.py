"""A photo and a driving clip as a pair for models that take landmarks: the photo's own pixels, nothing is resampled.

Of the photo the part around the face is taken that can be put into motion, with its mesh and the person's outline; of
the clip one fixed crop, in which landmarks are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fomm import expression
from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.model.face.align import Aligned
from fomm.model.face.mesh import REFERENCE
from fomm.model.face.motion import Face as Mesh
from fomm.progress import Progress, silent, watched
from fomm.video import LazyFrame, VideoReader, prefetch, read_frames
from preprocess.crop import Crop, Region, crop_matrix, shrunk, transform
from preprocess.faces import NUM_LANDMARKS, Face, FaceFinder, choose_face
from preprocess.pairing import (
    BEST_FRAME_EVERY,
    Pairing,
    Tracked,
    choose_track,
    doubts_about_face,
    doubts_about_track,
    start_hint,
)
from preprocess.track import TRACK_SCALE, Track, find_tracks, joined

VIEW_PX = 320  # side of the driving crop; the mesh's network reads 192 of it
WHOLE_PX = 640  # longer side of a driving frame that is looked at as a whole
CAMERA_SCALE = 2.0  # side of the crop of a camera's pictures, in sides of the face that it begins with
REACH = 1.9  # the part of a photo that moves, in face sides from a point somewhat below the face's middle ...
LOWER = 0.2  # ... by so much, to which comes how far the driving face travels

# Where doubts begin: size of a face, distance of two in the sum of their sides, difference of poses; how much of a face
# may lie outside of the picture, in its sides; openings of the mouth that are shut and open, see `fomm.expression`.
SMALL_PX = 64.0
NEAR = 0.75
START_UNLIKE_DEG = 25.0
CUT_OFF = 0.03
SHUT_MOUTH, OPEN_MOUTH = 0.04, 0.12

# What counts as one step of difference between the faces that motion starts from.
STEP_DEG, STEP_EYES, STEP_MOUTH, STEP_GAZE = 6.0, 0.25, 0.05, 0.15
STEP_WIDTH = 0.1  # of the mouth, in its usual widths
STEP_ASIDE = 0.03  # of the mouth, from where it usually is, see `expression.mouth_aside`
STEP_PLACE = 0.5  # from where the head usually is, in distances of the outer eye corners
USUAL_WIDTH, WIDTHS_DIFFER = 0.54, 0.12  # mouths at rest, see `expression.mouth_width`; by what part people's differ
SHUT_EYES = (0.07, 0.14)  # openings of the photo's eyes from shut to open, see `fomm.expression`


def region_around(face: Face, shape: tuple[int, ...], travel: float) -> Region:
    """The part of a picture of `shape` (H, W, ...) that a face in motion can change.

    Args:
        travel: how far the face moves, in its sides.
    """
    centre = face.at(0.0, LOWER)
    reach = (REACH + travel) * face.side_px
    left, top = np.clip(np.floor(centre - reach), 0, (shape[1] - 1, shape[0] - 1)).astype(int)
    right, bottom = np.clip(np.ceil(centre + reach) + 1, (left + 1, top + 1), (shape[1], shape[0])).astype(int)
    return Region(int(left), int(top), int(right), int(bottom))


def travel_of(track: Track, index: int) -> float:
    """How far a track's face gets from where it is in frame `index`, in its sides."""
    start, union = track.at(index), track.union_box_xyxy_px
    away = np.abs(np.subtract(union, start.box_xyxy_px)).max()
    return float(away) / start.side_px


class FoundFace(NamedTuple):
    """A photo's face that can be put into motion."""

    faces: Sequence[Face]  # the choices
    face: Face  # the one that was chosen
    mesh: np.ndarray  # (478, 3) its refined mesh in the photo's pixels


def find_portrait(photo: np.ndarray, photo_path: Path, finder: FaceFinder, number: int | None) -> FoundFace:
    """The face of a photo (H, W, 3) uint8 RGB with its mesh; `number` as for `choose_face`.

    Where no number is given it is the largest of those that are seen well: something else may look like a larger one.

    Raises:
        InputError: no such face, or it is not seen well enough.
    """
    faces = finder.find(photo)
    face = choose_face(faces, number, photo_path)
    for one in faces if number is None else [face]:
        if (mesh := finder.close_mesh(photo, one)) is not None:
            return FoundFace(faces, one, mesh)
    raise InputError(
        f"{photo_path}: the face at {face.centre_px[0]:.0f},{face.centre_px[1]:.0f} is not seen well enough to be "
        "animated; give a picture that shows it larger or clearer"
    )


def find_whole_portrait(photo: np.ndarray, photo_path: Path, finder: FaceFinder) -> FoundFace:
    """The same where it is seen in the whole picture; nothing is looked for.

    Raises:
        InputError: no face is seen.
    """
    seen = finder.mesh(photo)
    if seen is None:
        raise InputError(f"{photo_path}: no face is seen in the whole picture; leave out --crop false, or use another")
    face = Face(seen[:NUM_LANDMARKS, :2], 1.0, 0.0, 0.0)
    closer = finder.close_mesh(photo, face)
    return FoundFace([face], face, seen if closer is None else closer)


class Look(NamedTuple):
    """What a face does, see `fomm.expression`; any number of leading axes."""

    turn_deg: np.ndarray  # (..., 2) yaw and pitch, from the photo's
    eyes: np.ndarray  # (..., 2) openings
    mouth: np.ndarray  # (...) opening
    gaze: np.ndarray  # (..., 2)
    width: np.ndarray  # (...) of the mouth
    aside: np.ndarray  # (...) how far it is drawn to a side
    place: np.ndarray  # (..., 2) of the head in the picture, in distances of the outer eye corners

    @classmethod
    def of(cls, mesh: np.ndarray, photo: np.ndarray) -> Look:
        """Of meshes (..., 478, 3), of which `photo` (478, 3) is the photo's, upright."""
        turn = expression.pose_angles(expression.head_rotation(mesh, photo))[..., :2]
        eyes, mouth, gaze = expression.eye_openings(mesh), expression.mouth_opening(mesh), expression.gaze(mesh)
        place = mesh[..., list(expression.RIGID), :2].mean(-2) / expression.eye_distance(mesh)[..., None]
        return cls(turn, eyes, mouth, gaze, expression.mouth_width(mesh), expression.mouth_aside(mesh), place)


def steps_from(photo: Look, driving: Look) -> np.ndarray:
    """(N,) how far the driving faces (N,) are from looking like the photo's, in steps, for motion to start from.

    Eyes: how wide people open them differs more than what they do with them. Eyes that are open in the photo are to be
    as open as this driver's mostly are, shut ones shut. Mouths differ likewise: it is to be as wide as it mostly is,
    unless the photo's is wider or narrower than people's are, and where it mostly is: what moves from pursed lips is a
    grin, and from a mouth drawn to one side all that follows is drawn to the other. Likewise the head: what moves from
    the furthest lean leaves the picture.
    """
    low, high = SHUT_EYES
    opened = np.clip((photo.eyes - low) / (high - low), 0, 1)
    usual = np.maximum(np.median(driving.eyes, axis=0), 0.02)
    wider = photo.width / USUAL_WIDTH - 1
    wider = wider - np.clip(wider, -WIDTHS_DIFFER, WIDTHS_DIFFER)
    differences = (
        (driving.turn_deg - photo.turn_deg) / STEP_DEG,
        (driving.eyes / usual - opened) / STEP_EYES,
        (driving.mouth - photo.mouth)[:, None] / STEP_MOUTH,
        opened.min() * (driving.gaze - photo.gaze) / STEP_GAZE,
        (driving.width / np.median(driving.width) - 1 - wider)[:, None] / STEP_WIDTH,
        (driving.aside - np.median(driving.aside))[:, None] / STEP_ASIDE,
        (driving.place - np.median(driving.place, axis=0)) / STEP_PLACE,
    )
    return np.sqrt(sum(np.square(one).sum(1) for one in differences))


def views_through(
    crop: Crop, frame_wh: tuple[int, int]
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[LazyFrame], np.ndarray]]:
    """What is seen of a video's frames through a crop: of a frame, and faster of one that is not converted yet."""
    seen = crop.region(frame_wh)
    inner = crop.within(seen)
    return lambda image: inner.apply(seen.of(image)), lambda frame: inner.apply(frame.region(seen))


def seek_start(
    reader: VideoReader,
    start: int,
    stop: int | None,
    glance: Callable[[LazyFrame], np.ndarray],
    photo: np.ndarray | None,
    finder: FaceFinder,
    progress: Progress = silent,
) -> int | None:
    """Number of the driving frame that looks most like the photo, of every 5th; None where none shows a face.

    Without a photo it is the one in which the face is most at rest: straight, and its mouth shut.

    Left out, as far as there are others, are frames in which something covers the face, those that show none, and
    those beside them: what their meshes say is half invented.

    Args:
        start, stop: where to look (None: to the end).
        glance: what is looked at of a frame.
        photo: (478, 3) the photo's mesh, upright; None: there is none.
    """
    meshes: list[np.ndarray | None] = []
    unlike: list[bool] = []  # whether the face does not look like the first that is seen: one of the two is covered
    first: Aligned | None = None
    count = reader.frame_count if stop is None else stop - start
    count = count and -(-count // BEST_FRAME_EVERY)
    frames = map(glance, islice(reader.lazy_frames(), start, stop, BEST_FRAME_EVERY))
    with closing(prefetch(frames)) as views:
        for view in watched(views, "find best frame", count, progress):
            mesh = finder.mesh(view, closer=False)
            if mesh is not None:
                mesh = mesh.astype(np.float64)
                first = first or Aligned(view, Mesh(mesh))
                first(view, mesh)
            meshes.append(mesh)
            unlike.append(mesh is not None and first is not None and first.covered)
    shown = np.array([mesh is not None for mesh in meshes])
    if not shown.any():
        return None
    covered = shown & (np.array(unlike) != (2 * sum(unlike) > shown.sum()))
    hidden = np.pad(covered | ~shown, 1)
    clear = shown & ~(hidden[:-2] | hidden[1:-1] | hidden[2:])
    numbers = np.flatnonzero(clear if clear.any() else shown)
    seen = np.stack([mesh for number in numbers if (mesh := meshes[number]) is not None])
    model = REFERENCE if photo is None else photo
    steps = steps_from(Look.of(model, model), Look.of(seen, model))
    return start + BEST_FRAME_EVERY * int(numbers[steps.argmin()])


def pair_portrait(
    photo: np.ndarray,
    photo_path: Path,
    reader: VideoReader,
    driving: Tracked,
    finder: FaceFinder,
    settings: AnimationSettings,
    *,
    progress: Progress = silent,
) -> Pairing:
    """The part of a photo that is put into motion, with its mesh and the person; one fixed crop of the driving face.

    Arguments and errors as for `pair_faces`.
    """
    faces, face, mesh = find_portrait(photo, photo_path, finder, settings.face)
    tracks, frame_count, warnings = joined(driving.tracks), driving.frame_count, driving.warnings
    track = choose_track(tracks, settings.track, reader.path)
    driving_crop = track.crop(VIEW_PX, scale=settings.scale or TRACK_SCALE)
    view, glance = views_through(driving_crop, (reader.width, reader.height))
    start = None
    if settings.best_frame:
        photo_mesh = upright(mesh, face.roll_deg)
        start = seek_start(reader, track.start, track.stop, glance, photo_mesh, finder, progress)
    index = track.start if start is None else start
    region = region_around(face, photo.shape, travel_of(track, index))
    person = finder.person_at(photo, face, region)
    doubts = [f"{photo_path}: {doubt}" for doubt in doubts_about_portrait(faces, face, mesh, photo.shape, person)]
    about_driving = doubts_about_track(tracks, track, frame_count) + doubts_about_company(tracks, track, driving_crop)
    if settings.best_frame and start is None:
        about_driving.append("no face is seen well enough to find the best frame; the motion starts from the first")
    initial = view(read_frames(reader.path, [index])[0])
    if settings.relative and (begins := finder.mesh(initial, closer=False)) is not None:
        about_driving += doubts_about_beginning(upright(mesh, face.roll_deg), begins, index)
    return Pairing(
        region.of(photo),
        view,
        start=track.start,
        stop=track.stop,
        initial=None if start is None else initial,
        initial_index=index,
        source_crop=region,
        driving_crop=driving_crop,
        doubts=[*warnings, *doubts, *(f"{reader.path}: {doubt}" for doubt in about_driving)],
        faces=faces,
        face=face,
        tracks=tracks,
        track=track,
        mesh=mesh - [region.left, region.top, 0],
        person=person,
        glance=glance,
    )


def doubts_about_portrait(
    faces: Sequence[Face], face: Face, mesh: np.ndarray, shape: tuple[int, ...], person: np.ndarray | None
) -> list[str]:
    """What makes the chosen face, with its mesh (478, 3), of a photo of `shape` hard to animate, one sentence each."""
    doubts = doubts_about_face(faces, face)
    if face.side_px < SMALL_PX:
        doubts.append(f"the face is small ({face.side_px:.0f} px): its eyes and mouth show little, so they move little")
    if expression.eye_openings(mesh).max() < expression.EYES_SHUT[0]:
        doubts.append("the eyes are shut, and what is behind the lids is not known: they stay shut")
    cut = sides_cut_off(mesh, shape)
    if cut:
        doubts.append(
            f"the face is cut off by the picture's edge ({', '.join(cut)}): there it is stretched, and what is missing "
            "is not made up; take a picture that shows all of it"
        )
    for number, other in enumerate(faces, 1):
        away = np.linalg.norm(other.centre_px - face.centre_px)
        if other is not face and away < NEAR * (other.side_px + face.side_px):
            doubts.append(f"face {number} is very near; where the two persons touch it moves along")
            break
    return doubts + doubts_about_person(person)


def sides_cut_off(mesh: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """At which edges of a picture of `shape` (H, W, ...) a face (478, 3) is cut off."""
    most = CUT_OFF * float(np.ptp(mesh[:NUM_LANDMARKS, :2], axis=0).max())
    (left, top), (right, bottom) = mesh[:NUM_LANDMARKS, :2].min(0), mesh[:NUM_LANDMARKS, :2].max(0)
    outside = {"left": -left, "right": right - (shape[1] - 1), "top": -top, "bottom": bottom - (shape[0] - 1)}
    return [side for side, beyond in outside.items() if beyond > most]


def doubts_about_beginning(photo: np.ndarray, driving: np.ndarray, number: int) -> list[str]:
    """Whether the driving face (478, 3) that motion starts from, in frame `number`, is unlike the photo's, upright.

    Relative motion takes the two for the same.
    """
    doubts, own, begins = [], Look.of(photo, photo), Look.of(driving, photo)
    turn, tip = np.abs(begins.turn_deg)
    if max(turn, tip) > START_UNLIKE_DEG:
        doubts.append(
            f"the pose in its starting frame ({number}) is unlike the photo's, by {turn:.0f} degrees to the side and "
            f"{tip:.0f} up or down: the result looks elsewhere than the driver; use a clip with a frame in the photo's "
            "pose"
        )
    if begins.mouth > OPEN_MOUTH and own.mouth < SHUT_MOUTH:
        doubts.append(
            f"the mouth is open in its starting frame ({number}) and shut in the photo, so the result's opens less; "
            "use a clip with a frame in which it is shut"
        )
    if begins.mouth < SHUT_MOUTH and own.mouth > OPEN_MOUTH:
        doubts.append(
            f"the mouth is shut in its starting frame ({number}) and open in the photo, so the result's can hardly "
            "shut; use a photo with a shut mouth"
        )
    return doubts


def doubts_about_person(person: np.ndarray | None) -> list[str]:
    """Whether it is known where the person is, which (H, W) in [0, 1] says."""
    said = "the person's outline is not found, so the background moves along with the head"
    return [said] if person is None else []


def doubts_about_company(tracks: Sequence[Track], track: Track, crop: Crop) -> list[str]:
    """Whether somebody else comes so near to the driving face that the one may be taken for the other."""
    for number, other in enumerate(tracks, 1):
        if other is not track and other.start < track.stop and track.start < other.stop:
            corners = transform(crop.matrix, np.reshape(other.union_box_xyxy_px, (2, 2)))
            if (corners.max(0) > 0).all() and (corners.min(0) < crop.size).all():
                return [f"face track {number} comes into the crop around the face; the motion may jump to it"]
    return []


def pair_whole_portrait(
    photo: np.ndarray,
    photo_path: Path,
    reader: VideoReader,
    finder: FaceFinder,
    settings: AnimationSettings,
    *,
    progress: Progress = silent,
) -> Pairing:
    """Both sides as they are, the face is where it is seen; arguments as for `pair_portrait`."""
    view = partial(shrunk, side_px=WHOLE_PX)
    _, face, mesh = find_whole_portrait(photo, photo_path, finder)
    person = finder.person_at(photo, face, Region.whole(photo))
    start = None
    if settings.best_frame:
        photo_mesh = upright(mesh, face.roll_deg)
        start = seek_start(reader, 0, None, lambda frame: view(frame.image), photo_mesh, finder, progress)
    return Pairing(
        photo,
        view,
        initial=None if start is None else view(read_frames(reader.path, [start])[0]),
        initial_index=start or 0,
        doubts=[f"{photo_path}: {doubt}" for doubt in doubts_about_person(person)],
        mesh=mesh,
        person=person,
    )


def camera_crop(frame: np.ndarray, finder: FaceFinder) -> Crop:
    """The part of a camera's pictures (h, w, 3) uint8 RGB in which the face of this one may move about.

    Raises:
        InputError: it shows no face; says what to do.
    """
    tracks = find_tracks([frame], finder)
    if not tracks:
        raise InputError(f"camera: {start_hint([], frame.shape)}")
    return tracks[0].crop(VIEW_PX, scale=CAMERA_SCALE)


def upright(mesh: np.ndarray, roll_deg: float) -> np.ndarray:
    """A mesh (478, 3) without its roll."""
    turned = mesh.copy()
    turned[:, :2] = transform(crop_matrix(np.zeros(2), 1.0, roll_deg, 1), mesh[:, :2])
    return turned
