"""The side of a face that a turned photo hides, for motions that turn it to the viewer.

Faces are nearly symmetrical: what the photo hides, or shows in a few pixels, is taken from the other side, mirrored, in
the light of the hidden one as far as that is seen (Hassner et al., "Effective face frontalization in unconstrained
images", CVPR 2015). Made once for a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fomm.model.face.mesh import MIRROR, OVAL, REFERENCE, Pose
from fomm.model.face.motion import Face, ramp
from fomm.model.face.surface import REVEALED, Surface, normals_of

TRUSTED = (0.25, 0.55)  # cosine to the viewer up to which a point is not seen well, and from which it is
BETTER = (0.08, 0.25)  # by how much better the other side has to be seen
BEHIND = 0.12  # how far behind what is drawn there a point is hidden, in the head's frame
LIGHT = 0.5  # how far light is alike, in the head's frame
DARKEST, BRIGHTEST = 0.4, 1.8  # of the hidden side against the other one
LEAST = 60  # points; fewer, and a face looks ahead
INNER, EDGE = 0.75, 0.07  # from which part of the way to the outline on, and by how much of it, the texture is spread
_MESH = 468


def _inwards() -> np.ndarray:
    """(468, 1) by how much of the way to the middle of the face points near the outline are moved: what the photo shows
    at its very edge may be hair."""
    xy = REFERENCE[:_MESH, :2] - REFERENCE[OVAL, :2].mean(0)
    edge = xy[OVAL]
    angles = np.arctan2(edge[:, 1], edge[:, 0])
    order = np.argsort(angles)
    reach = np.interp(
        np.arctan2(xy[:, 1], xy[:, 0]), angles[order], np.linalg.norm(edge[order], axis=1), period=2 * np.pi
    )
    return EDGE * ramp(np.linalg.norm(xy, axis=1) / reach, INNER, 1.0)[:, None]


_INWARDS = _inwards()


@dataclass(frozen=True, eq=False)
class HiddenSide:
    """Attributes:
    texture: (h, w, 4) uint8, the side's colours as if the face were turned to the other side; the last is 255.
    points: (468, 2) where the texture shows each landmark.
    triangles: numbers of the surface's triangles that it covers.
    normal: (3,) where the side looks, in the head's frame.
    facing: how much it faces the viewer in the photo, a cosine.
    """

    texture: np.ndarray
    points: np.ndarray
    triangles: np.ndarray
    normal: np.ndarray
    facing: float

    @classmethod
    def of(cls, photo: np.ndarray, surface: Surface) -> HiddenSide | None:
        """From a photo (H, W, 3) uint8 and the surface over its face; None where it hides no side."""
        source = surface.source
        landmarks, unit = source.landmarks[:_MESH], source.pose.scale
        normals = normals_of(landmarks)
        trust = _trust(source, surface, -normals[:, 2], (photo.shape[1], photo.shape[0]))
        if (trust < 0.5).sum() < LEAST:
            return None
        # the face as the mirrored photo shows it
        there = landmarks[MIRROR].copy()
        there[:, 0] = photo.shape[1] - 1 - there[:, 0]
        mesh = surface.triangles[surface.face]
        touched = (trust[mesh] < 1).any(1)
        near = np.isin(mesh, mesh[touched]).any(1)  # and those around them, where both sides are the same
        triangles = surface.face[near]
        corners = there[np.unique(mesh[near]), :2]
        low = np.floor(corners.min(0)).astype(int) - 4
        high = np.ceil(corners.max(0)).astype(int) + 5
        size = int(high[0] - low[0]), int(high[1] - low[1])
        to = np.column_stack([np.eye(2), -low])
        own = surface.field(there, to, size, triangles, landmarks[:, :2], both_sides=False)
        weight = surface.field(there, to, size, triangles, np.column_stack([trust, trust]), both_sides=False)
        known = np.where(own.covered, np.clip(weight.points[..., 0], 0, 1), 0).astype(np.float32)
        here = cv2.remap(photo, own.points, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        flip = np.array([[-1.0, 0, photo.shape[1] - 1 - low[0]], [0, 1, -low[1]]])
        other = cv2.warpAffine(photo, flip, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        other = other.astype(np.float32)
        other *= _light(here, other, known, LIGHT * unit)
        texture = cv2.blendLinear(here, other, known, 1 - known)
        colours = np.clip(np.round(texture), 0, 255).astype(np.uint8)
        opaque = np.full(colours.shape[:2], 255, np.uint8)
        looks = -normals[trust < 0.5].mean(0)
        points = there[:, :2] - low
        points += (1 - trust[:, None]) * _INWARDS * (points[OVAL].mean(0) - points)
        return cls(np.dstack([colours, opaque]), points, triangles, source.pose.rotation.T @ looks, float(looks[2]))

    def shown(self, pose: Pose) -> float:
        """How much of it is to be drawn, in [0, 1], for a head in this pose."""
        return float(ramp((pose.rotation @ self.normal)[2] - self.facing, *REVEALED))


def _trust(source: Face, surface: Surface, facing: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """(468,) in [0, 1]: how well the photo shows each landmark where its other side is seen better; `facing` (468,) are
    cosines to the viewer."""
    covered = _covered(source.landmarks[:_MESH], surface, size_wh, BEHIND * source.pose.scale)
    seen = np.where(covered, -1.0, facing)
    return 1 - (1 - ramp(seen, *TRUSTED)) * ramp(seen[MIRROR] - seen, *BETTER)


def _covered(landmarks: np.ndarray, surface: Surface, size_wh: tuple[int, int], behind: float) -> np.ndarray:
    """(468,) bool: something else of the face lies before it."""
    field = surface.field(landmarks, np.eye(2, 3), size_wh, surface.face, landmarks[:, :2])
    x, y = np.clip(np.round(landmarks[:, :2]).astype(int), 0, np.array(size_wh) - 1).T
    triangle = field.triangle[y, x]
    drawn = landmarks[surface.triangles[surface.face[np.maximum(triangle, 0)]], 2].max(1)
    return (triangle >= 0) & (drawn < landmarks[:, 2] - behind)


def _light(here: np.ndarray, other: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """(h, w, 3) float32 by which `other` is to be multiplied to be as bright as `here` (h, w, 3) where that is known.

    Found on a small picture: it is smooth.
    """
    height, width = known.shape
    factor = min(1.0, 48 / max(height, width))
    small = max(1, round(width * factor)), max(1, round(height * factor))
    one, two = (
        cv2.resize(picture * known[..., None] + 1e-4 * picture, small, interpolation=cv2.INTER_AREA)
        for picture in (here, other)
    )
    sigma = max(1.0, reach * factor)
    one, two = (cv2.GaussianBlur(p, (0, 0), sigma) for p in (one, two))
    ratio = np.clip((one + 1e-3) / (two + 1e-3), DARKEST, BRIGHTEST)
    return cv2.resize(ratio, (width, height), interpolation=cv2.INTER_LINEAR)
