"""The face mesh whose landmarks are the keypoints of model `face`, and the pose of a face in it.

Landmarks are (478, 3) in pixels of their picture: x right, y down, z away from the viewer in the same unit (the depth
of a face's middle is arbitrary). The first 468 are the mesh's, then five for each iris, its centre first: MediaPipe's
numbering (face mesh with refined landmarks). "Left" and "right" are the screen's when the face is upright.

A face is its pose and its shape: landmarks = scale * shape @ rotation.T + shift. The shape is in the head's own frame,
whose unit is the distance between the middles of the reference's eyes, whose origin lies in the face's middle, and
whose axes are the screen's when the head looks straight into the camera.

`mesh.npz` holds the triangles (852, 3), without eyes and mouth, whose corners run clockwise on the screen when they
face the viewer, the landmark on the other side (468,) of each, and the reference (478, 3): a mean of drawn heads at
rest, symmetrical.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

NUM_LANDMARKS = 478

_FILE = np.load(Path(__file__).with_name("mesh.npz"), allow_pickle=False)
REFERENCE = _FILE["reference"].astype(np.float64)
TRIANGLES = _FILE["triangles"].astype(np.int32)
MIRROR = _FILE["mirror"].astype(np.int32)

OVAL = np.array(
    [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
    + [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
)
"""The face's outline (36,), clockwise from the middle of the forehead."""

# Points that expressions hardly move: corners of the eyes, nose, forehead, sides of the face.
RIGID = np.array(
    [33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 10, 151, 9, 8, 67, 297, 103, 332]
    + [54, 284, 127, 356, 234, 454, 93, 323, 132, 361]
)


class Eye(NamedTuple):
    """Landmark numbers of an eye. Rows run from the outer to the inner corner; numbers at one place of all rows lie
    above each other: fold, crease, upper, lower, bag."""

    outer: int
    inner: int
    upper: np.ndarray  # (7,) the upper lid's edge
    lower: np.ndarray  # (7,) the lower lid's
    iris: np.ndarray  # (5,), the centre first
    crease: np.ndarray  # (7,) where the upper lid begins
    fold: np.ndarray  # (7,) the skin between crease and brow
    bag: np.ndarray  # (7,) the skin below the lower lid

    @property
    def opening(self) -> np.ndarray:
        """(16,) the lids' edge as a closed line."""
        return np.array([self.outer, *self.upper, self.inner, *self.lower[::-1]])


LEFT_EYE = Eye(
    33,
    133,
    np.array([246, 161, 160, 159, 158, 157, 173]),
    np.array([7, 163, 144, 145, 153, 154, 155]),
    np.arange(468, 473),
    np.array([247, 30, 29, 27, 28, 56, 190]),
    np.array([113, 225, 224, 223, 222, 221, 189]),
    np.array([25, 110, 24, 23, 22, 26, 112]),
)
RIGHT_EYE = Eye(
    263,
    362,
    np.array([466, 388, 387, 386, 385, 384, 398]),
    np.array([249, 390, 373, 374, 380, 381, 382]),
    np.arange(473, 478),
    np.array([467, 260, 259, 257, 258, 286, 414]),
    np.array([342, 445, 444, 443, 442, 441, 413]),
    np.array([255, 339, 254, 253, 252, 256, 341]),
)
EYES = (LEFT_EYE, RIGHT_EYE)


class Mouth(NamedTuple):
    """Landmark numbers of the lips' inner edge; `upper[i]` lies above `lower[i]`, from left to right."""

    left: int
    right: int
    upper: np.ndarray  # (9,)
    lower: np.ndarray  # (9,)

    @property
    def opening(self) -> np.ndarray:
        """(20,) the lips' inner edge as a closed line."""
        return np.array([self.left, *self.upper, self.right, *self.lower[::-1]])


MOUTH = Mouth(
    78,
    308,
    np.array([191, 80, 81, 82, 13, 312, 311, 310, 415]),
    np.array([95, 88, 178, 87, 14, 317, 402, 318, 324]),
)
BROWS = (np.array([70, 63, 105, 66, 107]), np.array([300, 293, 334, 296, 336]))
LIPS = np.array([61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146])
"""The lips' outer edge (20,), clockwise from the left corner."""
NOSE = np.array([168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 49, 279, 129, 358, 122, 351, 64, 294])
"""Points of the nose (18,); their convex hull holds all of it."""
MOUTH_CORNERS = (61, 291)
NOSE_BASE, LIP_MIDDLE, CHIN, FOREHEAD = 2, 0, 152, 10
CHEEKS = (234, 454)  # their edges beside the ears


def beside(points: np.ndarray, reach: float) -> np.ndarray:
    """(478,) in [0, 1]: 1 at these landmarks, falling off around them as a bell does, by 1/e at `reach`."""
    apart = np.linalg.norm(REFERENCE[:, None, :2] - REFERENCE[points][None, :, :2], axis=2).min(1)
    return np.exp(-((apart / reach) ** 2))


class Pose(NamedTuple):
    """Where a head is: landmarks = scale * shape @ rotation.T + shift."""

    scale: float  # pixels per unit of the head's frame
    rotation: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,) pixels

    def place(self, shape: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the head's frame in the picture."""
        return self.scale * shape @ self.rotation.T + self.shift

    def shape(self, landmarks: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the picture in the head's frame: the inverse of `place`."""
        return (landmarks - self.shift) @ self.rotation / self.scale


def find_pose(landmarks: np.ndarray) -> Pose:
    """Pose of a face (478, 3): the similarity that brings the reference's rigid points nearest to its own.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    reference, points = REFERENCE[RIGID], landmarks[RIGID]
    x, y = reference - reference.mean(0), points - points.mean(0)
    u, singular, v = np.linalg.svd(y.T @ x)
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    rotation = (u * mirror) @ v
    scale = float((singular * mirror).sum() / (x * x).sum())
    return Pose(scale, rotation, points.mean(0) - scale * rotation @ reference.mean(0))


def angles_deg(rotation: np.ndarray) -> np.ndarray:
    """(yaw, pitch, roll) in degrees of a rotation (3, 3) = roll @ pitch @ yaw.

    Positive: turned to the screen's right, looking up, turned clockwise on the screen; as `preprocess.faces` has them.
    """
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    pitch = -np.arcsin(np.clip(rotation[2, 1], -1, 1))
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return np.degrees([-yaw, pitch, roll])


def angle_between_deg(one: np.ndarray, other: np.ndarray) -> float:
    """Angle in degrees, 0 to 180, of the turn that leads from one rotation (3, 3) to another."""
    return float(np.degrees(np.arccos(np.clip((np.trace(other @ one.T) - 1) / 2, -1, 1))))


def rotation_of(angles: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of (yaw, pitch, roll) in degrees: the inverse of `angles_deg`."""
    yaw, pitch, roll = np.radians(angles) * [-1, -1, 1]
    (sy, cy), (sp, cp), (sr, cr) = ((np.sin(a), np.cos(a)) for a in (yaw, pitch, roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tip = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ tip @ turn
