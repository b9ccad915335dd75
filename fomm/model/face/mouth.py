"""What a photo shows of the inside of a mouth, between lips that move."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.canvas import Canvas, polygon
from fomm.model.face.layers import Inside, turn_of
from fomm.model.face.mesh import LIPS, MOUTH, MOUTH_CORNERS
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.paint import DARKNESS, LIGHT, like_teeth

MOUTH_CHANGES = (0.015, 0.05)  # in the head's frame: up to the first the warp alone shows the mouth ...
WIDE, WIDE_CHANGES = 0.2, (0.15, 0.55)  # ... and so much more of what the photo's own gap is wider than this
PURSED = (0.68, 0.85)  # width of a mouth, of the photo's, up to which it is a round hole, and from which it is none
UPPER_TEETH = 0.17  # how far below the upper lip's edge its teeth reach at least, in the head's frame
LOWER_TEETH = 0.1  # how far above the lower lip's edge its teeth reach, likewise
LIP_SHADOW = 0.05  # how far below the upper lip teeth are in its shadow, likewise
TEETH_GO_UP = 0.1  # how far under the lip teeth that the photo shows go on, in the head's frame
TEETH_ASIDE = 0.5  # how far they follow a mouth that is drawn aside, or a gap would open where the photo shows no more
BETWEEN_TEETH = 0.03  # half of what between teeth that the photo shows is taken for theirs, too, in the head's frame
PIECE_SOFT = 0.06  # over which what the photo shows of the mouth's inside fades at its edge, likewise
PARTED = (0.05, 0.1)  # gap up to which lips show a shadow, and from which on what is behind them, likewise
DEEP_GAP = (0.2, 0.4)  # gaps between which light comes in, likewise ...
HOLE_GAP = (0.4, 0.65)  # ... and behind pursed lips


def mouth_change(source: Face, moved: Moved) -> float:
    """0 where the mouth is as in the photo, however the head moves, to 1 where its inside has to be drawn."""
    low, high = np.add(MOUTH_CHANGES, max(0.0, parted(source) - WIDE) * np.array(WIDE_CHANGES))
    return float(ramp(np.abs((moved.shape - source.shape)[MOUTH.opening, :2]).max(), low, high))


def pursed(source: Face, moved: Moved) -> float:
    """0 where the mouth is about as wide as in the photo or wider, 1 where it is a round hole."""
    wide, was = (np.linalg.norm(np.subtract(*face.shape[list(MOUTH_CORNERS)])) for face in (moved, source))
    return 1 - ramp(float(wide / was), *PURSED)


def parted(face: Face | Moved) -> float:
    """Widest gap between the lips, in the head's frame."""
    return float((face.shape[MOUTH.lower, 1] - face.shape[MOUTH.upper, 1]).max())


def shaded(moved: Moved) -> float:
    """1 where lips are parted so little that no light comes in, 0 where it does."""
    return 1 - ramp(parted(moved), *DEEP_GAP)


def unlit(source: Face, moved: Moved) -> float:
    """1 behind pursed lips, where no light comes in, 0 behind wide ones or where they are far apart."""
    return pursed(source, moved) * (1 - ramp(parted(moved), *HOLE_GAP))


class Piece(NamedTuple):
    """What a photo showed, as it lies on a canvas from its pixel `low` (2,) on: colours (h, w, 3) uint8, their weight
    (h, w) float32 in [0, 1], and (h, w) uint8 where it was shown."""

    low: np.ndarray
    colours: np.ndarray
    weight: np.ndarray
    mask: np.ndarray


def shown_by(pieces: list[Piece], size: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8 of a canvas of that size: where the photo showed what is seen."""
    shown = np.zeros(size[:2], np.uint8)
    for (x, y), *_, mask in pieces:
        here = shown[y : y + mask.shape[0], x : x + mask.shape[1]]
        np.maximum(here, mask, out=here)
    return shown


class Mouth:
    """The teeth as far as the photo shows them: upper ones keep to the skull, unless the lip comes down, lower ones to
    the lower lip.

    Elsewhere it is dark, in the colour of the lips, until the generator paints it: tongue and palate that the photo
    shows would lie before painted teeth, and end where its opening did.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        self._source = source
        opening = source.landmarks[MOUTH.opening, :2]
        inside = Inside(photo, opening, 0.2 * source.pose.scale)
        height = source.shape[MOUTH.lower, 1] - source.shape[MOUTH.upper, 1]
        upper_end, lower_end = np.maximum(UPPER_TEETH, 0.5 * height), -np.minimum(LOWER_TEETH, 0.5 * height)
        lips = source.landmarks[LIPS, :2]
        rim = cv2.subtract(polygon(lips - inside.low, inside.seen.shape[::-1]), inside.seen)
        self.dark = DARKNESS * np.array(cv2.mean(inside.texture, rim if rim.any() else None))[:3]
        is_upper, is_lower = self._along(MOUTH.upper, upper_end, inside), self._along(MOUTH.lower, lower_end, inside)
        upper, lower = self._gone_up(inside.only(is_upper)), inside.only(cv2.subtract(is_lower, is_upper))
        self._parts = tuple(part.only(self._teeth(part.texture)) for part in (upper, lower))
        shows = ramp(parted(source), *PARTED)
        # Their edge is the lips', which they leave behind: they fade there, or red rims would lie among painted teeth.
        seen = cv2.max(*(part.seen for part in self._parts))
        apart = cv2.distanceTransform((seen > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        soft = np.minimum(255 * apart / (PIECE_SOFT * source.pose.scale), 255)
        for part in self._parts:
            part.seen = (shows * np.minimum(part.seen, soft)).astype(np.uint8)

    def _along(self, lip: np.ndarray, end: np.ndarray, inside: Inside) -> np.ndarray:
        """(h, w) uint8 of a piece of the photo, 255 between a lip's edge and how far down from it (9,) that ends."""
        points, source = self._source.shape[lip].copy(), self._source
        points[:, 1] += end
        around = [*source.landmarks[[MOUTH.left, *lip, MOUTH.right], :2], *source.pose.place(points)[::-1, :2]]
        return polygon(np.array(around) - inside.low, (inside.seen.shape[1], inside.seen.shape[0]))

    def _teeth(self, texture: np.ndarray) -> np.ndarray:
        """(h, w) uint8, 255 where a piece of the photo shows teeth or what is between two of them."""
        teeth = (like_teeth(texture.astype(np.float32), self.dark) > 0.5).astype(np.uint8) * 255
        between = 2 * round(BETWEEN_TEETH * self._source.pose.scale) + 1
        return cv2.morphologyEx(teeth, cv2.MORPH_CLOSE, np.ones((between, between), np.uint8))

    def _gone_up(self, teeth: Inside) -> Inside:
        """They go on under a lip that rises, as light as they are below its shadow."""
        scale, down = self._source.pose.scale, self._source.pose.rotation[:2, 1]
        down = down / np.linalg.norm(down)
        height, width = teeth.seen.shape
        side = int(np.hypot(height, width)) + 1
        upright = np.array([[down[1], -down[0]], down])
        upright = np.column_stack([upright, side / 2 - upright @ (width / 2, height / 2)])
        texture, seen = (cv2.warpAffine(one, upright, (side, side)) for one in (teeth.texture, teeth.seen))
        rows, top = np.arange(side)[:, None], (seen > 127).argmax(0)
        lit = (seen > 127) & (rows < top + max(1, LIP_SHADOW * scale))
        lightest = np.where(lit, texture @ LIGHT, -1).argmax(0)
        goes_on = lit.any(0) & (top - TEETH_GO_UP * scale <= rows) & (rows <= lightest + 1)
        colours = np.where(lit.any(0)[:, None], texture[lightest, rows.T[0]], self.dark)
        goes_on &= like_teeth(colours, self.dark) > 0.5  # gums and tongue do not
        above = np.dstack([np.broadcast_to(colours, texture.shape), 255 * goes_on]).astype(np.uint8)
        above = cv2.warpAffine(above, upright, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        teeth.texture = np.where(above[..., 3:] > 127, above[..., :3], teeth.texture)
        teeth.seen = cv2.max(teeth.seen, above[..., 3])
        return teeth

    def draw(self, canvas: Canvas, moved: Moved) -> list[Piece]:
        """Draw it between the moved lips. Returns what the photo showed of it, to be laid over what is painted."""
        source, edge = self._source, canvas.points(moved.landmarks[MOUTH.opening, :2])
        window = canvas.window(edge)
        if window is None or mouth_change(source, moved) == 0:
            return []
        low, size = window
        within = polygon(edge - low, size)
        dark = np.broadcast_to(np.round(self.dark).astype(np.uint8), (*within.shape, 3))
        canvas.blend(low, dark, within * np.float32(1 / 255))
        turn = canvas.to[:, :2] @ turn_of(source.pose, moved.pose)
        middle = source.shape[MOUTH.opening].mean(0, keepdims=True)
        change = moved.shape - source.shape
        aside = TEETH_ASIDE * change[MOUTH.opening].mean(0) * [1, 0, 0]
        # under a lip that comes down a second row would be painted below theirs, if it is not a round hole
        lowered = (1 - pursed(source, moved)) * np.maximum(change[MOUTH.upper].mean(0) * [0, 1, 0], 0)
        with_lip = change[MOUTH.lower].mean(0) * [0, 1, 1]
        lit = float(ramp(parted(moved), *PARTED))
        here = source.pose.place(middle)[0, :2]
        pieces = []
        for part, goes in zip(self._parts, (aside + lowered, aside + with_lip), strict=True):
            there = canvas.points(moved.pose.place(middle + goes)[:, :2])[0] - low
            seen = part.warped(turn, here, there, size)
            mask = cv2.min(seen[..., 3], within)
            pieces.append(Piece(low, seen[..., :3], mask * np.float32(lit / 255), mask))
            canvas.blend(*pieces[-1][:3])
        return pieces
