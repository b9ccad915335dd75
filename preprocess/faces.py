"""Faces in a picture: box, 468 landmarks, roll. The only file that touches mediapipe (Solutions API, 0.10.21).

The way to a face: short-range and full-range detector -> rough roll from the detector's eye points -> derotated crop
of 2.2 x the detector's box -> face mesh -> eye line; once more on a crop placed by that first mesh. A face counts only
when both meshes agree: a detector's box alone can sit on a chest.

Conventions: pictures (H, W, 3) uint8 RGB; points (x, y) in pixels, integers at pixel centres; angles in degrees, roll
positive = clockwise on the screen.

MediaPipe's limits: a `FaceFinder` belongs to the thread and process that made it (both are checked). Once it has run,
a forked child hangs: start worker processes with `spawn`, and make one finder in each.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cv2
import numpy as np

from fomm.errors import InputError
from preprocess.crop import Crop, Region, crop_matrix, invert, resized_pixels, shrunk, transform, warp

NUM_LANDMARKS = 468
NUM_REFINED = 478  # with finer lips and lids, and five points on each iris

# Mesh landmark numbers; "left" and "right" are those of the screen when the face is upright.
LEFT_EYE = (33, 133)  # outer and inner corner: they stay where they are when the eye blinks
RIGHT_EYE = (263, 362)
NOSE_TIP = 1
FOREHEAD, CHIN = 10, 152
MOUTH = (61, 291)

# From the extent of the mesh to the framing of the released models' training data, whose detector (SFD) draws boxes
# from forehead to chin and cheek to cheek. The mesh ends a little below the hairline, hence slightly larger and
# shifted up, in units of the extent's width and height. Judged by eye; this is the one place to calibrate.
BOX_SCALE = 1.06
BOX_SHIFT_Y = -0.03

FACE_SCALE = 1.5  # crop side in face sides: a track's 1.2 x its union box, for a face that moves by a quarter

PITCH_AT_REST_DEG = -8.0  # mean slope of that line over frontal photos and clips; on puppets -10

_MESH_INPUT = 320  # side of the picture that the mesh sees; its own network reads 192 of it
_MESH_CONTEXT = (2.2, 1.6)  # crop side in detector boxes; the tighter one where a neighbour's face was meshed
# Where `close_mesh` looks: side of the crop and where its centre is, in face sides, and its turn in degrees.
_LOOKS = (
    (1.6, 0.0, 0.0, 0), (1.5, 0.04, 0.02, 2), (1.7, -0.03, 0.04, -2), (1.45, -0.04, -0.03, 3), (1.75, 0.02, -0.04, -3),
    (1.55, 0.0, 0.05, -1), (1.65, 0.05, -0.01, 1), (1.6, -0.05, 0.0, 2), (1.5, 0.01, -0.05, -2),
)  # fmt: skip
_PERSON_INPUT = 256  # what the segmentation reads
_NOISE_PX = 384  # side of the middle of a picture in which noise is looked for
_NOISY = (0.03, 0.06)  # noise, of the contrast, between which it begins to disturb
_SOFT, _LIGHT = 1 / 270, 200.0  # how softly, in its widths, and how light a noisy picture is looked at
_ROUGH = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_HEAD_ENDS = 0.7  # where a head ends above and beside the middle of its face, in the face's sides
_PERSON_SIDES, _PERSON_LOWER = 3.0, 0.2  # side of its square, and how much lower than the face, in face sides
_HEAD_REACH = 0.9  # beyond so many face sides from a face's middle there is more than its head
_DETECT_SIDE = 512  # the detectors read 128 and 192 pixels and alias: larger pictures are first shrunk to this
_SURE = 0.9  # upside-down faces score 0.5 to 0.8 with the detectors, upright ones 0.8 to 0.97
_TINY = 12  # a picture narrower than this holds no face that could be used


class _Spot(NamedTuple):
    """Where a face may be: centre and side of an upright square turned by `roll_deg`."""

    centre: np.ndarray  # (2,)
    side: float
    roll_deg: float
    score: float


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture, in that picture's pixels.

    `landmarks_px` is (468, 2) float32. `eye_left_px` is the middle between the corners of the eye that is on the left
    of the screen when the face is upright (the subject's right eye). `score` (0..1) is the detector's. `yaw_deg`
    (positive = turned to the screen's right) and `pitch_deg` (positive = looking up) are rough, see `head_angles`.
    """

    landmarks_px: np.ndarray
    score: float
    yaw_deg: float
    pitch_deg: float

    @property
    def eye_left_px(self) -> np.ndarray:
        return self.landmarks_px[list(LEFT_EYE)].mean(0)

    @property
    def eye_right_px(self) -> np.ndarray:
        return self.landmarks_px[list(RIGHT_EYE)].mean(0)

    @property
    def roll_deg(self) -> float:
        """Angle of the line between the eye centres, in (-180, 180], positive = clockwise on the screen."""
        return line_angle(self.eye_left_px, self.eye_right_px)

    @property
    def box_xyxy_px(self) -> tuple[float, float, float, float]:
        """Forehead to chin, upright in the picture (left, top, right, bottom); it may leave the picture."""
        return framing_box(self.landmarks_px)

    @property
    def corners_px(self) -> np.ndarray:
        """(4, 2) of that box, as `Crop.corners_px`."""
        left, top, right, bottom = self.box_xyxy_px
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) centre of the box that is turned with the face."""
        return self._turned_box()[0]

    @property
    def side_px(self) -> float:
        """Longer side of the box that is turned with the face: the size of the face whatever its roll."""
        return self._turned_box()[1]

    def at(self, right: float, down: float) -> np.ndarray:
        """(2,) the picture's point that is so many face sides right of and below the centre, turned with it."""
        upright = crop_matrix(self.centre_px, self.side_px, self.roll_deg, 1)
        return transform(invert(upright), np.array([[right, down]]))[0]

    def _turned_box(self) -> tuple[np.ndarray, float]:
        upright = crop_matrix(self.landmarks_px.mean(0), 1.0, self.roll_deg, 1)
        left, top, right, bottom = framing_box(transform(upright, self.landmarks_px))
        centre = transform(invert(upright), np.array([[(left + right) / 2, (top + bottom) / 2]]))[0]
        return centre, float(max(right - left, bottom - top))


def line_angle(start_px: np.ndarray, end_px: np.ndarray) -> float:
    """Direction from `start_px` to `end_px` in degrees: 0 = to the right, positive = clockwise on the screen."""
    dx, dy = np.subtract(end_px, start_px)
    return float(np.degrees(np.arctan2(dy, dx)))


def framing_box(landmarks_px: np.ndarray) -> tuple[float, float, float, float]:
    """Box (left, top, right, bottom) of landmarks (N, 2) in the framing of the released models' training data.

    The extent of the landmarks, enlarged `BOX_SCALE` times about its centre and moved by `BOX_SHIFT_Y` of its height.
    """
    low, high = landmarks_px.min(0).astype(float), landmarks_px.max(0).astype(float)
    centre, half = (low + high) / 2, (high - low) / 2
    centre[1] += BOX_SHIFT_Y * 2 * half[1]
    left, top = centre - BOX_SCALE * half
    right, bottom = centre + BOX_SCALE * half
    return float(left), float(top), float(right), float(bottom)


def head_angles(upright_xyz: np.ndarray) -> tuple[float, float]:
    """Yaw and pitch in degrees from mesh landmarks (468, 3) of a face without roll (z as x, positive = away).

    Yaw is the slope in depth of the lines between the outer eye corners and between the mouth corners; pitch that of
    the line from forehead to chin, less what it is in a face that looks straight ahead. The mesh's depth is a guess
    from one picture: good for "turned away or not", not for measuring.
    """
    across = upright_xyz[[RIGHT_EYE[0], MOUTH[1]]].sum(0) - upright_xyz[[LEFT_EYE[0], MOUTH[0]]].sum(0)
    down = upright_xyz[CHIN] - upright_xyz[FOREHEAD]
    yaw = np.degrees(np.arctan2(across[2], across[0]))
    pitch = np.degrees(np.arctan2(-down[2], down[1])) - PITCH_AT_REST_DEG
    return float(yaw), float(pitch)


class FaceFinder:
    """Finds faces with MediaPipe; a context manager.

    Both of its detectors are asked, for faces near the camera and for small ones: each misses some that the other
    finds. What scores below 0.5 is left out (mediapipe 0.10.21 ignores its option for that).

    Raises:
        InputError: no mediapipe with the Solutions API.
    """

    def __init__(self) -> None:
        self._owner = (os.getpid(), threading.get_ident())
        self._faceless: deque[tuple[bool, tuple[int, ...], bytes]] = deque(maxlen=256)  # pictures searched in vain
        self._heard: set[int] = set()  # models past their first result, which no longer write to stderr
        solutions = _solutions()
        with QUIET:
            self._detectors = [solutions.face_detection.FaceDetection(model_selection=near_far) for near_far in (0, 1)]
            self._mesher = solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1)
            for solution in (*self._detectors, self._mesher):  # its threads still write until the first result
                solution.process(np.zeros((64, 64, 3), np.uint8))
        self._more: dict[str, Any] = {}  # models that are made where they are asked for

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the models; the finder cannot be used afterwards. A second call does nothing."""
        for solution in (*self._detectors, self._mesher, *self._more.values()):
            if solution._graph is not None:  # mediapipe fails on a second close
                solution.close()

    def find(self, image: np.ndarray, *, thorough: bool = True, closer: bool = True) -> list[Face]:
        """All faces in a picture (H, W, 3) uint8 RGB of any size, largest first; an empty list when there is none.

        The detectors see the whole picture and, when `thorough`, its four quarters as well, which show small and
        tilted faces better. Where there is no face yet, smaller parts and quarter turns (90, 180, 270 degrees) follow.
        Not `thorough` costs a third of the time: for frames of a video and for crops of faces. Not `closer` leaves out
        what follows where there is no face yet, most of the time that a picture without faces costs: see `Lookout`.

        Raises:
            ValueError: not an (H, W, 3) uint8 array.
            RuntimeError: called from another thread or a forked process.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"a picture is (H, W, 3) uint8 RGB, but got {image.shape} {image.dtype}")
        if min(image.shape[:2]) < _TINY:
            return []
        searched = None
        for number, views in enumerate(islice(_attempts(image, thorough), None if closer else 1)):
            if number == 1:  # from here on it takes long: not twice in the same picture
                searched = thorough, image.shape, hashlib.blake2b(image.tobytes()).digest()
                if searched in self._faceless:
                    return []
            faces: list[Face] = []
            spots = [spot for view, to_image in views for spot in self._detect(view, to_image)]
            for spot in sorted(spots, key=lambda spot: -spot.score):
                if any(_same(spot, face) for face in faces):
                    continue
                face = self._upright(image, spot)
                if face is not None and not any(_overlap(face, other) > 0.3 for other in faces):
                    faces.append(face)
            if faces:
                return sorted(faces, key=lambda face: -face.side_px)
        if searched is not None:
            self._faceless.append(searched)
        return []

    def landmarks(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks (468, 2) of the largest face in a picture, or None where there is no face. Raises as `find`."""
        faces = self.find(image, thorough=False)
        return faces[0].landmarks_px if faces else None

    def mesh(self, image: np.ndarray, *, closer: bool = True) -> np.ndarray | None:
        """Refined mesh (478, 3) float32 of a face in a picture (H, W, 3) uint8 RGB, or None where there is no face.

        Pixels of the picture: x right, y down, integers at pixel centres, z in the same unit and smaller = nearer. The
        last ten points are the irises, each its centre first. Each picture by itself, nothing is smoothed in time.
        For pictures that a face fills well; where none is seen at once, the largest face that `find` finds is used,
        which looks as `closer` says.
        """
        points = self._refined_mesh(image)
        if points is not None:
            return points
        for face in self.find(image, thorough=False, closer=closer)[:1]:
            return self._mesh_through(image, face_crop(face, _MESH_INPUT, scale=_MESH_CONTEXT[1]))
        return None

    def close_mesh(self, photo: np.ndarray, face: Face) -> np.ndarray | None:
        """Refined mesh (478, 3) of a face that `find` found, in the photo's pixels, or None where none is seen.

        As `mesh`, but of the upright close-up, and the mean of several looks at it: by itself each is wrong by some 0.3
        pixels of a face 160 pixels wide. For photos, at which one has the time to look so well.
        """
        meshes = []
        for sides, right, down, turn_deg in _LOOKS:
            roll_deg = face.roll_deg + turn_deg
            matrix = crop_matrix(face.at(right, down), sides * face.side_px, roll_deg, _MESH_INPUT)
            points = self._mesh_through(photo, Crop(matrix, _MESH_INPUT))
            if points is not None:
                points[:, 2] -= points[:, 2].mean()  # the depth of a face's middle is arbitrary
                meshes.append(points)
        return np.mean(meshes, axis=0, dtype=np.float64) if meshes else None

    def _mesh_through(self, image: np.ndarray, crop: Crop) -> np.ndarray | None:
        """Refined mesh seen in a crop, in the picture's pixels."""
        points = self._refined_mesh(crop.apply(image))
        if points is not None:
            points[:, :2] = transform(crop.inverse, points[:, :2])
            points[:, 2] *= crop.side_px / crop.size
        return points

    def _refined_mesh(self, image: np.ndarray) -> np.ndarray | None:
        options = {"static_image_mode": True, "max_num_faces": 1, "refine_landmarks": True}
        found = self._process(self._one_of("face_mesh", "FaceMesh", **options), cleared(image)).multi_face_landmarks
        if not found:
            return None
        height, width = image.shape[:2]
        shares = np.array([(point.x, point.y, point.z) for point in found[0].landmark])
        return (shares * (width, height, width) - (0.5, 0.5, 0.0)).astype(np.float32)

    def pose(self, image: np.ndarray) -> np.ndarray | None:
        """The 33 keypoints of the body in a picture (H, W, 3) uint8 RGB: (33, 3) float32, x and y in pixels, and how
        surely each is seen, from 0 to 1; None where no body is found."""
        # the only model of the three that comes with the package
        poser = self._one_of("pose", "Pose", static_image_mode=True, model_complexity=1)
        found = self._process(poser, image).pose_landmarks
        if found is None:
            return None
        height, width = image.shape[:2]
        points = [(p.x * width - 0.5, p.y * height - 0.5, p.visibility) for p in found.landmark]
        return np.array(points, np.float32)

    def person(self, image: np.ndarray) -> np.ndarray:
        """How surely each pixel of a picture (H, W, 3) uint8 RGB shows a person: (H, W) float32 in [0, 1]."""
        segmenter = self._one_of("selfie_segmentation", "SelfieSegmentation", model_selection=0)
        return np.asarray(self._process(segmenter, image).segmentation_mask, np.float32)

    def person_at(self, photo: np.ndarray, face: Face, region: Region) -> np.ndarray | None:
        """How surely each pixel of a part of a photo shows the person with this face: (H, W) float32 in [0, 1].

        Looked for in an upright square of three face sides; around it the square's edge is repeated. Beyond a head that
        the photo cuts off, hair that is drawn out to stripes would be no person's: there the square lies further in.
        None where that fails: the face itself hardly counts as a person, or all that the photo shows around it does.
        """
        size, centre = _PERSON_INPUT, face.at(0.0, _PERSON_LOWER)
        last = np.array(photo.shape[1::-1]) - 1.0
        half = _PERSON_SIDES / 2
        for x, y, lower in ((0, -1, _PERSON_LOWER), (-1, 0, 0.0), (1, 0, 0.0)):
            head, edge = face.at(_HEAD_ENDS * x, _HEAD_ENDS * y), face.at(half * x, half * y + lower)
            if (np.clip(head, 0, last) != head).any():
                centre = centre + np.clip(edge, 0, last) - edge
        crop = Crop(crop_matrix(centre, _PERSON_SIDES * face.side_px, face.roll_deg, size), size)
        person = self.person(crop.apply(photo))
        corners, hull = Region.whole(photo).corners_px, cv2.convexHull(face.landmarks_px.astype(np.float32))[:, 0]
        on_photo, on_face = (
            cv2.fillConvexPoly(np.zeros((size, size), np.uint8), np.rint(points).astype(np.int32), 1) > 0
            for points in (transform(crop.matrix, corners), transform(crop.matrix, hull))
        )
        rows, columns = np.mgrid[:size, :size]
        middle = transform(crop.matrix, face.centre_px[None])[0]
        around = on_photo & (np.hypot(columns - middle[0], rows - middle[1]) > _HEAD_REACH / _PERSON_SIDES * size)
        if person[on_face].mean() < 0.7 or (around.mean() > 0.05 and person[around].mean() > 0.97):
            return None
        to_region = crop.inverse - [[0, 0, region.left], [0, 0, region.top]]
        size_wh = region.right - region.left, region.bottom - region.top
        return np.clip(warp(person, to_region, size_wh, interpolation=cv2.INTER_LINEAR), 0, 1)

    def _detect(self, view: np.ndarray, to_image: np.ndarray) -> Iterator[_Spot]:
        """Candidates that the detectors see in `view`, in the picture's pixels; `to_image` (2, 3) leads there."""
        height, width = view.shape[:2]
        for detector in self._detectors:
            for detection in self._process(detector, view).detections or ():
                box = detection.location_data.relative_bounding_box
                eyes = detection.location_data.relative_keypoints[:2]
                corners = [(box.xmin, box.ymin), (box.xmin + box.width, box.ymin + box.height)]
                relative = np.array(corners + [(eye.x, eye.y) for eye in eyes])
                points = transform(to_image, relative * (width, height) - 0.5)
                side = float(np.abs(points[1] - points[0]).max())
                if side >= 1 and np.isfinite(points).all():
                    centre = (points[0] + points[1]) / 2
                    yield _Spot(centre, side, line_angle(points[2], points[3]), float(detection.score[0]))

    def _upright(self, image: np.ndarray, spot: _Spot) -> Face | None:
        """The verified face at a candidate.

        Detector and mesh may both take an upside-down face for an upright one, but then the detector is less sure
        than on the face turned by 180 degrees.
        """
        face = self._verify(image, spot)
        if face is None or spot.score > _SURE:
            return face
        here, turned = (
            _Spot(face.centre_px, face.side_px, face.roll_deg + half_turn, spot.score) for half_turn in (0, 180)
        )
        if self._score(image, turned) <= self._score(image, here):
            return face
        return self._verify(image, turned) or face

    def _score(self, image: np.ndarray, spot: _Spot) -> float:
        """The detectors' best score for a face at `spot`, seen upright by its roll."""
        matrix = crop_matrix(spot.centre, 1.8 * spot.side, spot.roll_deg, 256)
        seen = self._detect(warp(image, matrix, (256, 256)), invert(matrix))
        near = [s.score for s in seen if np.linalg.norm(s.centre - spot.centre) < 0.5 * spot.side]
        return max(near, default=0.0)

    def _verify(self, image: np.ndarray, spot: _Spot) -> Face | None:
        """The face at a candidate, or None where two meshes in a row do not see the same one there."""
        for context in _MESH_CONTEXT:
            first = self._mesh(image, spot, context)
            if first is None or not _same(spot, first):
                continue
            again = _Spot(first.centre_px, first.side_px, first.roll_deg, spot.score)
            # the mesh reaches further than the detector's box: the same crop is fewer of its sides
            second = self._mesh(image, again, context / 1.2)
            if second is not None and _overlap(first, second) > 0.5:
                return second
        return None

    def _mesh(self, image: np.ndarray, spot: _Spot, context: float) -> Face | None:
        crop = Crop(crop_matrix(spot.centre, context * spot.side, spot.roll_deg, _MESH_INPUT), _MESH_INPUT)
        found = self._process(self._mesher, crop.apply(image)).multi_face_landmarks
        if not found:
            return None
        xyz = np.array([(p.x, p.y, p.z) for p in found[0].landmark[:NUM_LANDMARKS]]) * _MESH_INPUT
        points = xyz[:, :2] - 0.5  # mediapipe's pixel corners to pixel centres
        roll_left = line_angle(points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0))
        upright = transform(crop_matrix(points.mean(0), 1.0, roll_left, 1), points)
        yaw_deg, pitch_deg = head_angles(np.column_stack([upright, xyz[:, 2]]))
        return Face(transform(crop.inverse, points).astype(np.float32), spot.score, yaw_deg, pitch_deg)

    def _one_of(self, module: str, name: str, **options: Any) -> Any:
        """One of mediapipe's solutions, made the first time."""
        if name not in self._more:
            with QUIET:
                self._more[name] = solution = getattr(getattr(_solutions(), module), name)(**options)
                solution.process(np.zeros((64, 64, 3), np.uint8))  # as in `__init__`
        return self._more[name]

    def _process(self, solution: Any, image: np.ndarray) -> Any:
        if (os.getpid(), threading.get_ident()) != self._owner:
            raise RuntimeError("a FaceFinder works only in the thread and process that made it: make one in each")
        image = np.ascontiguousarray(image)
        if id(solution) in self._heard:
            return solution.process(image)
        with QUIET:
            result = solution.process(image)
        seen = (getattr(result, name, None) for name in ("multi_face_landmarks", "detections", "segmentation_mask"))
        if any(one is not None and len(one) for one in seen):
            self._heard.add(id(solution))
        return result


class Lookout:
    """Looks for faces in the frames of one video, in order: with fewer views where there has long been no face.

    In the place of a `FaceFinder` for `find_tracks`. All views of a frame without faces cost 15 times as much as the
    whole frame alone. So after four looks in vain (and until a face is seen) only the whole frame is looked at, and
    all views in looks 8, 16, 24 and so on. A face that is too small or too tilted for the whole frame alone, and comes
    after a stretch without any, is found up to 7 looks late, 1.4 seconds of a usual video.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder, self._in_vain = finder, 0

    def find(self, image: np.ndarray, *, thorough: bool = False) -> list[Face]:
        """As `FaceFinder.find`."""
        closer = self._in_vain < 4 or self._in_vain % 8 == 0
        faces = self._finder.find(image, thorough=thorough, closer=closer)
        self._in_vain = 0 if faces else self._in_vain + 1
        return faces


class NoFaceError(InputError):
    """A picture or a video shows no face."""


def describe_faces(faces: Sequence[Face]) -> str:
    """The faces as a user chooses them: `1: box 174,57 to 269,168, 111 px; 2: ...`."""
    return "; ".join(
        "{}: box {:.0f},{:.0f} to {:.0f},{:.0f}, {:.0f} px".format(number, *face.box_xyxy_px, face.side_px)
        for number, face in enumerate(faces, 1)
    )


def choose_face(faces: Sequence[Face], number: int | None, path: str | os.PathLike[str]) -> Face:
    """Face `number` (from 1; None = the largest) of those that `FaceFinder.find` found in the picture `path`.

    Raises:
        NoFaceError: no face at all; says what was tried.
        InputError: no face of that number; lists the choices.
    """
    if not faces:
        raise NoFaceError(
            f"{path}: no face found: tried the whole picture, its parts and its quarter turns; give a picture with a "
            "face of at least 5 % of its long side, not turned away"
        )
    if number is None:
        return faces[0]
    if not 1 <= number <= len(faces):
        raise InputError(f"{path}: no face {number}; choose --face from {describe_faces(faces)}")
    return faces[number - 1]


def cleared(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB as it is looked at for its mesh, of the same size; itself where there is no noise.

    In the noise of a dark room an open mouth is seen shut from one frame to the next: it is made lighter and softer.

    Noise is the median of what Immerkaer, "Fast noise variance estimation", CVIU 1996, takes the mean of.
    """
    height, width = image.shape[:2]
    top, left = max(0, (height - _NOISE_PX) // 2), max(0, (width - _NOISE_PX) // 2)
    grey = cv2.cvtColor(image[top : top + _NOISE_PX, left : left + _NOISE_PX], cv2.COLOR_RGB2GRAY)
    rough = np.median(np.abs(cv2.filter2D(grey, cv2.CV_16S, _ROUGH)[::2, ::2])) * 1.4826 / 6
    low, light, high = np.percentile(grey[::4, ::4], (5, 90, 95))
    noisy = np.clip((rough / max(high - low, 1.0) - _NOISY[0]) / (_NOISY[1] - _NOISY[0]), 0, 1)
    if noisy == 0:
        return image
    lighter = 1 + noisy * (max(1.0, _LIGHT / max(light, 1.0)) - 1)
    return cv2.convertScaleAbs(cv2.GaussianBlur(image, (0, 0), max(0.3, noisy * _SOFT * width)), alpha=lighter)


def _same(spot: _Spot, face: Face) -> bool:
    """Whether a detector's candidate is about this face: centre inside the face, sizes alike."""
    near = np.linalg.norm(spot.centre - face.centre_px) < 0.6 * face.side_px
    return bool(near) and 0.4 < spot.side / face.side_px < 2.0


def _overlap(one: Face, other: Face) -> float:
    return box_iou(one.box_xyxy_px, other.box_xyxy_px)


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union (0..1) of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    total = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return shared / total if total > 0 else 0.0


def _attempts(image: np.ndarray, thorough: bool) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """What to show the detectors, one list after the other until there is a face: views with their way back.

    A view comes with the (2, 3) matrix from its pixels to the picture's.
    """
    whole = _shrunk(image, np.eye(2, 3))
    if thorough:
        yield [whole, *_tiles(image, 2, 0.6)]
    else:
        yield [whole]
        yield list(_tiles(image, 2, 0.6))
    yield list(_tiles(image, 3, 0.4))
    yield [_quarter_turns(*whole, turns) for turns in (1, 2, 3)]


def _tiles(image: np.ndarray, count: int, share: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """count x count overlapping views, each of `share` of the picture's width and height."""
    height, width = image.shape[:2]
    high, wide = int(np.ceil(share * height)), int(np.ceil(share * width))
    for y in np.linspace(0, height - high, count).astype(int):
        for x in np.linspace(0, width - wide, count).astype(int):
            yield _shrunk(image[y : y + high, x : x + wide], np.array([[1.0, 0, x], [0, 1.0, y]]))


def _shrunk(image: np.ndarray, to_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = shrunk(image, _DETECT_SIDE)
    return small, to_image @ resized_pixels(image.shape[1::-1], small.shape[1::-1])


def _quarter_turns(view: np.ndarray, to_image: np.ndarray, turns: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = view.shape[:2]
    back = {  # np.rot90 turns counter-clockwise
        1: [[0, -1, width - 1], [1, 0, 0]],
        2: [[-1, 0, width - 1], [0, -1, height - 1]],
        3: [[0, 1, 0], [-1, 0, height - 1]],
    }[turns]
    return np.rot90(view, turns), to_image @ np.array([*back, [0, 0, 1]], dtype=float)


def _solutions() -> Any:
    try:
        with QUIET:
            import mediapipe

            return mediapipe.solutions
    except AttributeError as error:
        raise InputError(
            f"mediapipe {mediapipe.__version__} has no Solutions API; run: pip install mediapipe==0.10.21"
        ) from error
    except ImportError as error:
        raise InputError(
            f"mediapipe cannot be loaded ({error}); run: pip install mediapipe==0.10.21, and where a lib*.so is "
            "missing: apt-get install libgl1 libglib2.0-0 libegl1 libgles2"
        ) from error


class _Quiet:
    """Keeps file descriptor 2 silent for as long as any thread is within: mediapipe's C++ log has no working switch."""

    def __init__(self) -> None:
        self._lock, self._within, self._stderr = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._stderr = os.dup(2)
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 2)
                os.close(silence)
            self._within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)


QUIET = _Quiet()


def face_crop(face: Face, size: int = 256, *, scale: float = FACE_SCALE, derotate: bool = True) -> Crop:
    """Crop around a face, of side `scale` x `Face.side_px`, upright by its roll unless `derotate` is False.

    Nothing of the turned square is lost: what the picture has of it is in the crop.
    """
    roll_deg = face.roll_deg if derotate else 0.0
    return Crop(crop_matrix(face.centre_px, scale * face.side_px, roll_deg, size), size)


@cache
def _own_finder() -> FaceFinder:
    return FaceFinder()


def largest_meshes(pictures: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Landmarks (468, 2) in pixels of the largest face in each (H, W, 3) uint8 RGB picture; None where there is none.

    The finder is made once and stays: for a process that does nothing else.
    """
    return [_own_finder().landmarks(picture) for picture in pictures]


def serve_meshes(pipe: Connection) -> None:
    """Answer pictures with `largest_meshes` until the other side ends: the work of a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side
    with suppress(EOFError):
        while True:
            pipe.send(largest_meshes(pipe.recv()))


class SharedFinder:
    """A `FaceFinder` in a thread of its own, which sees faces in videos' frames for any thread; a context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="meshes")
        self._finder = self._thread.submit(FaceFinder).result()

    def __enter__(self) -> SharedFinder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the models; a second call does nothing."""
        with suppress(RuntimeError):  # the thread has ended already
            self._thread.submit(self._finder.close)
        self._thread.shutdown()

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        """As `FaceFinder.mesh`, without the search where no face is seen at once."""
        return self._thread.submit(self._finder.mesh, image, closer=False).result()

    def person(self, image: np.ndarray) -> np.ndarray:
        """As `FaceFinder.person`."""
        return self._thread.submit(self._finder.person, image).result()
