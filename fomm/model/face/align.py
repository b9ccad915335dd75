"""Landmarks of a clip's frames, set right by what the frames show.

A detector finds each frame's mesh by itself: it is off by half a pixel or more, differently in each pose, hardly sees
a brow that is raised, and takes it for a lowered one above a wide eye. The face itself is the better measure: the
initial frame, moved by the mesh, should look like the frame at hand, and where optical flow tells them apart, landmarks
are moved by what it says. All frames are compared with the initial one, so nothing adds up over a clip.

A hand before the face is told by the nose: a detector goes on inventing a mesh there, but of all parts the nose is the
one that looks alike whatever a face does.

Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016.
"""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.mesh import (
    BROWS,
    EYES,
    LIPS,
    MOUTH,
    NOSE,
    NUM_LANDMARKS,
    OVAL,
    REFERENCE,
    angle_between_deg,
    beside,
)
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.surface import Surface

FACE_PX = 150.0  # height of the face at which frames are compared
SMOOTH_PX = 4.0  # flow is averaged over this much of it, standard deviation
EDGE_PX, OPENING_PX = 5, 11  # inside the outline and around openings, where the flow sees two things at once
KEPT = 0.8  # of the last frame's correction, to begin with
MOST = 0.08  # correction that is approached, in the head's frame
BROWS_DOUBTED = 0.5  # to what part lowered brows are looked for at rest instead of where the mesh sees them
LOWERED = (0.0, 0.06)  # between these, in the head's frame, it comes to that
NOISE_LEVELS = 2.0  # difference of grey values that says nothing
NOSE_LIGHT_PX = 55  # differences over more than this are the light's
NOSE_NOISE = 10.0  # variance of grey values that says nothing
COVERED, COVERED_PER_DEG = 0.41, 0.006  # a nose more unlike is covered: faces reach 0.33, hands begin at 0.46 ...
COVERED_TURNED_DEG = 10.0  # ... and what is turned by more than this may be more unlike
_MESH = 468

_HEIGHT = float(np.ptp(REFERENCE[:_MESH, 1]))
_OPENINGS = (*(eye.opening for eye in EYES), MOUTH.opening)


def _share() -> np.ndarray:
    """(468, 1) how much of the flow a landmark follows: less at lids, lips and outline, whose edges the mesh finds well
    and beside which the flow does not see the face."""
    lids = beside(np.concatenate([eye.opening for eye in EYES]), 0.06)
    lips = beside(np.concatenate([LIPS, MOUTH.opening]), 0.1)
    outline = beside(OVAL, 0.15)
    return ((1 - 0.6 * lips - 0.6 * lids) * (1 - 0.25 * outline))[:_MESH, None]


_SHARE = _share()
_ABOVE_EYES = REFERENCE[:, 1] < REFERENCE[[eye.outer for eye in EYES], 1].mean() - 0.1
_NEAR_BROWS = tuple(_ABOVE_EYES * beside(brow, 0.25) for brow in BROWS)


class Aligned:
    """Sets landmarks right, frame after frame of one clip.

    Args:
        frame: (H, W, 3) uint8, the initial frame.
        face: its face, which all others are compared with.
    Call: frame (H, W, 3) uint8 and landmarks (478, 3) found in it -> landmarks (478, 3) set right.

    Attributes:
        covered: whether something covers the face in the frame of the last call. What is learnt there is not used.
    """

    def __init__(self, frame: np.ndarray, face: Face) -> None:
        height, width = frame.shape[:2]
        factor = min(1.0, FACE_PX / (_HEIGHT * face.pose.scale))
        self._size = max(8, round(width * factor)), max(8, round(height * factor))
        self._factor = np.array(self._size) / (width, height)
        self._initial = self._small(frame)
        self._surface = Surface(face, (width, height))
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._initial_rotation, self._initial_shape = face.pose.rotation, face.shape
        self._correction = np.zeros((NUM_LANDMARKS, 2))  # in the unit of the head's frame
        self.covered = False

    def __call__(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        self.covered = False
        found = Face(landmarks)
        unit = found.pose.scale
        guess = found.pose.place(_doubted(found.shape, self._initial_shape))
        start = guess.copy()
        start[:, :2] += KEPT * unit * self._correction
        moved = Face(start)
        low, high = self._window(start[:_MESH, :2])
        if (high - low < 16).any():
            return landmarks
        to = np.column_stack([np.diag(self._factor), 0.5 * self._factor - 0.5 - low])
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        vertices = self._surface.vertices(Moved(start, moved.pose, moved.shape, 0.0))
        field = self._surface.field(vertices, to, size, self._surface.close)
        expected = cv2.remap(
            self._initial, _into(field.points, self._factor), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen = self._small(frame)[low[1] : high[1], low[0] : high[0]].copy()
        np.copyto(expected, seen, where=~field.covered)  # far from the face nothing is compared
        points = start[:, :2] @ to[:, :2].T + to[:, 2]
        away, unlike = self._away(expected, seen, points)
        turned = max(0.0, angle_between_deg(self._initial_rotation, moved.pose.rotation) - COVERED_TURNED_DEG)
        self.covered = unlike > COVERED + COVERED_PER_DEG * turned
        away /= self._factor
        limit = MOST * unit
        length = np.linalg.norm(away, axis=1, keepdims=True)
        away *= limit * np.tanh(length / limit) / np.maximum(length, 1e-9)
        start[:, :2] += away
        if not self.covered:
            self._correction = (start - guess)[:, :2] / unit
        return start

    def _away(self, expected: np.ndarray, seen: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
        """(478, 2) how far landmarks at `points` (478, 2) should go for `expected` (h, w) to look like `seen`, and how
        unlike the noses still are then."""
        flow = self._flow.calc(expected, seen, None)
        there = _moved_back(seen, flow)
        weight = _inside(points, (seen.shape[0], seen.shape[1])) * _helps(expected, seen, there)
        blurred = cv2.GaussianBlur(np.dstack([flow * weight[..., None], weight]), (0, 0), SMOOTH_PX)
        x, y = np.clip(np.round(points[:_MESH]).astype(int), 0, np.array(seen.shape[::-1]) - 1).T
        found = blurred[y, x].astype(np.float64)
        away = np.zeros((NUM_LANDMARKS, 2))
        away[:_MESH] = _SHARE * found[:, :2] / (found[:, 2:] + 0.02)
        for eye in EYES:  # irises go with their eyes
            away[eye.iris] = away[[eye.outer, eye.inner]].mean(0)
        return away, _nose_unlike(expected, there, points)

    def _small(self, frame: np.ndarray) -> np.ndarray:
        """(h, w) uint8: a frame as it is compared, always the whole of it, so that equal frames stay equal."""
        return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self._size, interpolation=cv2.INTER_AREA)

    def _window(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners (2,) int of what is compared of a small frame whose face is at `points` (N, 2) of the frame."""
        low, high = (_into(points.min(0), self._factor), _into(points.max(0), self._factor))
        return np.maximum(np.floor(low).astype(int) - 6, 0), np.minimum(np.ceil(high).astype(int) + 7, self._size)


def _doubted(shape: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """A shape (478, 3) whose lowered brows are nearer to where they were in the initial one."""
    lowered = shape[:, 1] - initial[:, 1]
    guess = shape.copy()
    for brow, near in zip(BROWS, _NEAR_BROWS, strict=True):
        guess[:, 1] -= BROWS_DOUBTED * ramp(float(lowered[brow].mean()), *LOWERED) * near * lowered
    return guess


def _into(points: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return ((points + 0.5) * factor - 0.5).astype(np.float32)


def _moved_back(seen: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A picture (h, w) as it was before the flow (h, w, 2)."""
    height, width = seen.shape
    at = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))) + flow
    return cv2.remap(seen, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _helps(expected: np.ndarray, seen: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(h, w) in [0, 1]: how much of the difference to `seen` goes away with the flow, which leaves `there`."""
    before, after = (cv2.blur(cv2.absdiff(one, expected).astype(np.float32), (9, 9)) for one in (seen, there))
    return np.clip((before - after + NOISE_LEVELS) / (before + NOISE_LEVELS), 0, 1)


def _nose_unlike(expected: np.ndarray, there: np.ndarray, points: np.ndarray) -> float:
    """How unlike two pictures (h, w) are at the nose of landmarks `points` (478, 2): 1 - their correlation, 0 to 2.

    Local light is removed, and what is no more than noise counts as alike.
    """
    nose, lips = (np.zeros(expected.shape, np.uint8) for _ in range(2))
    for mask, part in ((nose, NOSE), (lips, LIPS)):
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[part]).astype(np.int32)), 1)
    nose, lips = (cv2.dilate(mask, np.ones((width, width))) for mask, width in ((nose, 5), (lips, 3)))
    at = (nose > lips).nonzero()
    if not len(at[0]):
        return 0.0
    levels = expected.astype(np.float32), there.astype(np.float32)
    one, other = ((grey - cv2.blur(grey, (NOSE_LIGHT_PX, NOSE_LIGHT_PX)))[at] for grey in levels)
    alike, norms = (one * other).mean(), (np.square(one).mean(), np.square(other).mean())
    return 1 - float((alike + NOSE_NOISE) / np.sqrt((norms[0] + NOSE_NOISE) * (norms[1] + NOSE_NOISE)))


def _inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) float32, 1 on the skin of the face, away from its edges."""
    mask = np.zeros(shape, np.uint8)
    drawn = np.round(points).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(drawn[:_MESH]), 1)
    mask = cv2.erode(mask, np.ones((2 * EDGE_PX - 1,) * 2, np.uint8))
    for opening in _OPENINGS:
        cv2.fillPoly(mask, [drawn[opening]], 0)
        cv2.polylines(mask, [drawn[opening]], True, 0, 2 * OPENING_PX - 1)
    return mask.astype(np.float32)
