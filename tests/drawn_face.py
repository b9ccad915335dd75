"""Faces for tests of model `face`: shapes of made-up people, and a picture of one that needs no file."""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.canvas import polygon
from fomm.model.face.mesh import EYES, MOUTH, OVAL, REFERENCE, find_pose

SIDE = 320
CENTRE = (SIDE / 2, SIDE * 0.42)


def somebody(seed: int) -> np.ndarray:
    """(478, 3) a face's shape: the reference, smoothly bent."""
    rng = np.random.default_rng(seed)
    bend = np.eye(3) + rng.normal(0, 0.05, (3, 3))
    shape = REFERENCE @ bend.T + 0.02 * np.sin(REFERENCE @ rng.normal(0, 1, (3, 3)) + rng.uniform(0, 6, 3))
    return find_pose(shape).shape(shape)


def outline(landmarks: np.ndarray, grown: float = 1.0) -> np.ndarray:
    """(SIDE, SIDE) float32 in [0, 1]: a person's outline around a face, head, neck and shoulders."""
    oval = landmarks[OVAL, :2]
    centre, mask = oval.mean(0), np.zeros((SIDE, SIDE), np.uint8)
    head = polygon(centre + (oval - centre) * 1.3 * grown, (SIDE, SIDE))
    chin, wide = landmarks[152, :2], grown * np.ptp(oval[:, 0])
    body = np.array([chin + [-0.3 * wide, -0.2 * wide], chin + [0.3 * wide, -0.2 * wide]])
    body = np.concatenate([body, [[CENTRE[0] + 1.1 * wide, SIDE + 5], [CENTRE[0] - 1.1 * wide, SIDE + 5]]])
    cv2.fillPoly(mask, [np.round(body).astype(np.int32)], 255)
    return np.maximum(head, mask).astype(np.float32) / 255


def lit_face(landmarks: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: skin with pores, white eyes, dark irises, red lips, a striped background."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.dstack([120 + 60 * np.sin(x / 9), 150 + 40 * np.sin(y / 13), 170 + 30 * np.sin((x + y) / 11)])
    person = outline(landmarks)[..., None]
    pores = cv2.GaussianBlur(rng.normal(0, 25, (SIDE, SIDE)), (0, 0), 1.0)[..., None]
    skin = np.array([190.0, 140, 115]) * (0.75 + 0.25 * x[..., None] / SIDE) + pores
    picture = person * skin + (1 - person) * picture
    for eye in EYES:
        white = polygon(landmarks[eye.opening, :2], (SIDE, SIDE))[..., None] / 255
        iris = polygon(landmarks[eye.iris[1:], :2], (SIDE, SIDE))[..., None] / 255 * white
        picture = white * 250 + (1 - white) * picture
        picture = iris * np.array([60.0, 40, 30]) + (1 - iris) * picture
    lips = polygon(landmarks[[61, 37, 0, 267, 291, 314, 17, 84], :2], (SIDE, SIDE))[..., None] / 255
    inner = polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE))[..., None] / 255
    picture = lips * np.array([170.0, 70, 70]) + (1 - lips) * picture
    picture = inner * np.array([50.0, 15, 15]) + (1 - inner) * picture
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
