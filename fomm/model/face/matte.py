"""A person's outline in a photo, as fine as the photo shows it: the matte, and the person's own colours under it."""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.behind import spread
from fomm.model.face.motion import ramp

EDGE_LEVELS = 2.5  # differences of colour, in grey levels, that the outline follows
HEAD = 1.5  # height of a head with its hair, from the person's top on, in face heights
BESIDE = 0.2  # how far from the outline hair stands off, in face heights
AROUND = 18.0  # part of the face's height around the outline in which the person's colours are seen, too
HAIR_PX = 2.0  # and around hair that stands off
STRAND = 1 / 30  # of the face's height: what is narrower is a strand
LENGTH = 0.1  # of the face's height, that a strand has at least
STANDS_OUT = (4.0, 7.0)  # by how much a strand differs, in times of what such differences are farther away, to be one
LEAST_LEVELS = 2.0  # such a difference that says nothing
COLOURS_PX = 60.0  # height of a face in which colours far from the outline are found
CLEAR_LEVELS = 20.0  # difference of these colours that is needed
LEAST_WEIGHT = 0.01  # of the person in a window: with less, the person's colours come from farther away


def outlined(photo: np.ndarray, person: np.ndarray, face_px: float, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matte (H, W) float32 in [0, 1], and the same with what is around it: where a photo is not trusted to be
    background alone.

    Args:
        photo: (H, W, 3) uint8.
        person: (H, W) float32 in [0, 1], how sure it is that a pixel shows the person.
        face_px: height of the face.
        edges: (H, W, 3) uint8, in whose edges the outline is looked for.
    """
    matte = refine_matte(edges, person, face_px)
    hair = strands(photo, matte, face_px)
    return np.maximum(matte, hair), np.maximum(_around(matte, face_px / AROUND), _around(hair, HAIR_PX))


def _around(matte: np.ndarray, px: float) -> np.ndarray:
    """(H, W) float32, 1 or less: a matte and so many pixels around it, of any weight above 0."""
    return cv2.dilate(np.ceil(255 * matte).astype(np.uint8), _disc(px)) / np.float32(255)


def refine_matte(edges: np.ndarray, person: np.ndarray, face_px: float) -> np.ndarray:
    """(H, W) float32 in [0, 1]: the person's outline drawn to the photo's own edges; arguments as for `outlined`.

    He, Sun, Tang, "Guided image filtering", ECCV 2010.
    """
    rough = np.clip(5 * (person - 0.5) + 0.5, 0, 1).astype(np.float32)
    fine = cv2.ximgproc.guidedFilter(edges, 255 * rough, max(2, round(face_px / 16)), EDGE_LEVELS**2) / 255
    matte = np.clip((fine - 0.1) / 0.8, 0, 1)
    # what is enclosed by the person (an earring, a reflection in glasses) belongs to it
    outside = np.pad((matte < 0.5).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.where(outside[1:-1, 1:-1] == 1, 1, matte).astype(np.float32)


def foreground(photo: np.ndarray, matte: np.ndarray, face_px: float) -> np.ndarray:
    """(H, W, 3) uint8: the person's own colours in a photo (H, W, 3) uint8 with this matte (H, W), also where the
    background shines through and beyond the outline.

    Forte, "Approximate fast foreground colour estimation", ICIP 2021: averages over the person nearby.
    """
    picture = photo.astype(np.float32)
    alpha = matte[..., None]
    height, width = matte.shape
    factor = min(1.0, COLOURS_PX / face_px)
    small = max(2, round(factor * width)), max(2, round(factor * height))
    surely = cv2.resize((matte > 0.95).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    far = spread(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), (surely > 0.99).astype(np.float32))
    far = cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR)  # where no window reaches the person
    near, behind = picture, picture
    for size in (max(3, round(face_px / 8)), max(3, round(face_px / 40))):
        window = (size, size)
        weight = cv2.blur(matte, window)[..., None]
        own = (cv2.blur(near * alpha, window) + LEAST_WEIGHT * far) / (weight + LEAST_WEIGHT)
        rest = cv2.blur(behind * (1 - alpha), window) / (1 - weight + 1e-5)
        near = np.clip(own + alpha * (picture - alpha * own - (1 - alpha) * rest), 0, 255)
        behind = np.clip(rest, 0, 255)
    return np.round(near).astype(np.uint8)


def strands(photo: np.ndarray, matte: np.ndarray, face_px: float) -> np.ndarray:
    """(H, W) float32 in [0, 1]: hair that stands off, too fine for the network that told the person from the rest.

    A line beside the head that differs from what is around it as the person does, much more than such lines do farther
    away, and that ends near the head, is hair. Left in the background it would hang in the air where the head was.

    Args:
        photo: (H, W, 3) uint8.
        matte: (H, W) float32 in [0, 1], the person so far.
        face_px: height of the face.
    """
    height, width = matte.shape
    factor = min(1.0, COLOURS_PX / face_px)
    small = max(2, round(factor * width)), max(2, round(factor * height))

    def large(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)

    colours, person = (cv2.resize(one, small, interpolation=cv2.INTER_AREA) for one in (photo, matte))
    near = cv2.dilate((person > 0.02).astype(np.uint8), _disc(BESIDE * factor * face_px))
    far = 1 - near.astype(np.float32)
    in_head = np.arange(small[1])[:, None] < np.argmax(person.max(1) > 0.5) + HEAD * factor * face_px  # rows
    if not far.any():
        return np.zeros_like(matte)
    colours = colours.astype(np.float32)
    apart = spread(colours, (person > 0.95).astype(np.float32)) - spread(colours, far)
    levels = np.linalg.norm(apart, axis=2)
    towards = np.einsum("hwc,hwc->hw", photo, large(apart / np.maximum(levels, 1.0)[..., None]))  # the person's colour
    wide = 2 * max(2, round(STRAND * face_px)) + 1
    line = cv2.morphologyEx(towards, cv2.MORPH_TOPHAT, np.ones((wide, wide)))
    usual = spread(np.dstack([cv2.resize(line, small, interpolation=cv2.INTER_AREA)] * 3), far)[..., 0]  # takes colours
    found = np.clip(line / np.maximum(large(levels), CLEAR_LEVELS), 0, 1)
    near = large(near * in_head) > 0.5
    _, pieces, stats, _ = cv2.connectedComponentsWithStats((found > 0.1).astype(np.uint8))
    is_hair = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1) >= LENGTH * face_px
    is_hair[pieces[~near]] = False  # goes on
    found *= ramp(line / (large(usual) + LEAST_LEVELS), *STANDS_OUT)
    found[~is_hair[pieces] | (matte > 0.5)] = 0
    return found.astype(np.float32)


def _disc(radius: float) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(2, round(radius)) + 1,) * 2)
