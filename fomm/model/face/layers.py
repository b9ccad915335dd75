"""The layers of a portrait: the person cut out, the background behind it, the inside of the mouth.

Everything that depends on the photo alone is made once. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.behind import fill
from fomm.model.face.canvas import Canvas, polygon
from fomm.model.face.matte import foreground, outlined
from fomm.model.face.mesh import BROWS, CHIN, EYES, LIPS, MOUTH, MOUTH_CORNERS, OVAL, Pose
from fomm.model.face.motion import Face, Moved, ramp

STILL_PX = (0.03, 0.3)  # a motion below the first leaves the photo as it is, from the second on it is drawn
MOUTH_CHANGES = (0.015, 0.05)  # in the head's frame: up to the first the warp alone shows the mouth
DARKNESS = 0.25  # of the lips' brightness, where the mouth's inside is not known
PURSED = (0.68, 0.85)  # width of a mouth, of the photo's, up to which it is a round hole, and from which it is none
SHADOW, SHADOW_SOFT = 0.9, 1.5  # how dark it is behind pursed lips; how softly that ends, in pixels of the patch
UPPER_TEETH = 0.17  # how far below the upper lip's edge its teeth reach at least, in the head's frame
BRIGHTER = 1.15  # than the brightest in the photo's face nothing is painted by more than this factor
TOOTH_PALE, TOOTH_LIGHT = (0.15, 0.32), (0.4, 0.6)  # spread of a tooth's colours, of the largest; light, of the face's
TEETH_PX = 12  # of the generator's patch: fewer say nothing of the teeth's colour
PALEST, WHITE_IS_COLOURED = 30.0, (0.4, 0.55)  # per cent of the lit part of eyes that are white; spread of its colours
TINT, PALER_THAN_WHITE = 0.8, (0.0, 0.2)  # part of the way to that white that what is paler by so much is drawn then
TEETH_GO_UP = 0.1  # how far under the lip teeth that the photo shows go on, in the head's frame
TEETH_ASIDE = 0.5  # how far they follow a mouth that is drawn aside, or a gap would open where the photo shows no more
BETWEEN_TEETH = 0.03  # half of what between teeth that the photo shows is taken for theirs, too, likewise
PIECE_SOFT = 0.06  # over which what the photo shows of the mouth's inside fades at its edge, in the head's frame
DEEP = 0.6  # how light what is painted beside the teeth may be, of the lips
DEEP_GAP = (0.2, 0.4)  # gaps of the lips between which that ends, in the head's frame: light comes in
PALER, NO_SHADOW = (0.08, 0.2), (0.6, 0.9)  # by what part less coloured than the lips teeth are, and how light, of them
# Where upper teeth end, sideways from the middle, in the head's frame: 8.5, 6.5 and 7.5 mm wide (Nelson, "Wheeler's
# dental anatomy"), those further back seen foreshortened, in a head whose eyes are 63 mm apart.
TEETH_END = np.array([0.0, 0.135, 0.24, 0.355, 0.43, 0.49])
ARCH, ARCH_START = 2.6, 0.08  # their depth by the square of that; the foremost's, likewise
GAP_WIDTH, GAP_DARK, BACK_DARK = 0.011, 0.13, 0.3  # how wide, likewise, and dark it is between two; and at the last
AS_PALE = (0.3, 0.6)  # how far from the lips' colour towards the palest teeth's what is one of their row is
TELL_PALE = (0.05, 0.1)  # by how much less coloured than lips they have to be for that
ROW_ALONG, ROW_SHARE = 0.4, (0.15, 0.45)  # part of the mouth's width, and how much of it is teeth where their row is
LIGHTER, TEETH_SOFT = (1.2, 1.5), 0.8  # what is as light as this is teeth; how softly they end, in pixels of the patch
LIP_SHADOW = 0.05  # how far below the lip they are in its shadow, likewise
PARTED = (0.05, 0.1)  # lips not farther apart show a shadow, and from then on what is behind them, likewise
COLOURED = (1.0, 2.5)  # spread of a face's colours, in grey levels: up to the first the photo has one colour only
SKIN_PX, SKIN_SOFT = 160.0, 0.05  # width of a face in which its bare skin is found; how smooth, in widths of the face
SKIN_BROAD, SKIN_FAR = 8, 5.0  # how much smaller it is for what lies far from bare skin, and how smooth, in its pixels
SKIN_ROOM = 0.03  # how far from outline, eyes, brows and lips bare skin begins, in widths of the face
SKIN_GRAIN = 0.012  # what is finer than this in bare skin is its grain, in widths of the face
SKIN_VARIES, SKIN_NOISE = 3.0, 4.0  # spreads, and grey levels, by which a pixel may differ from the median skin
HUE_VARIES, HUE_NOISE = 1.5, 0.012  # the same for its share of each colour
LAYERS_PX = 400.0  # height of a face above which layers are made from a smaller photo
_LIGHT = np.array([0.299, 0.587, 0.114], np.float32)  # how much each colour adds to it


class Layers(NamedTuple):
    """A photo taken apart.

    Attributes:
        matte: (H, W) float32 in [0, 1], how much of a pixel is the person.
        person: (H, W, 3) uint8, the person's own colours, also a little beyond the outline.
        background: (H, W, 3) uint8, with the person taken out; away from the person it is the photo, bit for bit.
    """

    matte: np.ndarray
    person: np.ndarray
    background: np.ndarray

    @classmethod
    def of(cls, photo: np.ndarray, person: np.ndarray, face_px: float, edges: np.ndarray | None = None) -> Layers:
        """From a photo and (H, W) float32 in [0, 1], how sure it is that a pixel shows the person; `edges` as for
        `Sitter`.

        Outline and filling of a large face are found in a smaller photo: they are smooth, and the photo's own pixels
        stay wherever one layer alone is seen.
        """
        return _taken_apart(photo, person, face_px, photo if edges is None else edges)[0]


def _taken_apart(photo: np.ndarray, person: np.ndarray, face_px: float, edges: np.ndarray) -> tuple[Layers, np.ndarray]:
    """As `Layers.of`, and (H, W) float32 in [0, 1], where the photo is not trusted to be background alone."""
    factor = LAYERS_PX / face_px
    if factor >= 1:
        matte, hidden = outlined(photo, person, face_px, edges)
        return Layers(matte, foreground(photo, matte, face_px), fill(photo, hidden, face_px)), hidden
    height, width = photo.shape[:2]
    small_wh = max(1, round(factor * width)), max(1, round(factor * height))
    less_photo, less_person, less_edges = (
        cv2.resize(one, small_wh, interpolation=cv2.INTER_AREA) for one in (photo, person, edges)
    )
    small, hidden = _taken_apart(less_photo, less_person, LAYERS_PX, less_edges)
    matte, near, behind, hidden = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in (*small, hidden)
    )
    alone = ramp(matte, 0.9, 1.0).astype(np.float32)
    hidden = np.minimum(1.0, 8 * hidden)
    person = cv2.blendLinear(photo, near, alone, 1 - alone)
    return Layers(matte, person, cv2.blendLinear(behind, photo, hidden, 1 - hidden)), hidden


class Inside:
    """What is seen through an opening of the face: a piece of the photo that keeps its form while the edges move.

    Args:
        photo: (H, W, 3) uint8.
        opening: (N, 2) the opening's edge in the photo's pixels.
        room_px: how much around it is kept.
    """

    def __init__(self, photo: np.ndarray, opening: np.ndarray, room_px: float) -> None:
        low = np.floor(opening.min(0) - room_px).astype(int)
        high = np.ceil(opening.max(0) + room_px).astype(int) + 1
        x, y = (np.clip(np.arange(a, b), 0, n - 1) for a, b, n in zip(low, high, photo.shape[1::-1], strict=True))
        self.texture = np.ascontiguousarray(photo[np.ix_(y, x)])
        self.low = low
        margin = max(0.5, (high - low)[0] / 80)
        size = int(high[0] - low[0]), int(high[1] - low[1])
        self.seen = cv2.erode(polygon(opening - low, size), np.ones((2 * round(margin) + 1,) * 2, np.uint8))

    def only(self, mask: np.ndarray) -> Inside:
        """The same piece, of which only what lies in `mask` (h, w) uint8 counts as seen."""
        part = copy(self)
        part.seen = cv2.min(self.seen, mask)
        return part

    def warped(self, turn: np.ndarray, here: np.ndarray, there: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        """(h, w, 4) its colours and where it was seen; the photo's point `here` comes to the canvas' `there`."""
        return np.dstack(
            [
                self.placed(self.texture, turn, here, there, size_wh, by=cv2.INTER_CUBIC),
                self.placed(self.seen, turn, here, there, size_wh),
            ]
        )

    def placed(
        self,
        picture: np.ndarray,
        turn: np.ndarray,
        here: np.ndarray,
        there: np.ndarray,
        size_wh: tuple[int, int],
        by: int = cv2.INTER_LINEAR,
    ) -> np.ndarray:
        """A picture of this piece, pixel for pixel, as `warped` has it on the canvas; `by` is how it is read."""
        back = np.linalg.inv(turn)
        matrix = np.column_stack([back, here - self.low - back @ there])
        return cv2.warpAffine(
            picture, matrix, size_wh, flags=by | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )


def change_px(points: np.ndarray, source: Face, moved: Moved) -> float:
    """How far the landmarks of these numbers are from where the photo has them."""
    return float(np.abs(moved.landmarks[points, :2] - source.landmarks[points, :2]).max())


def mouth_change(source: Face, moved: Moved) -> float:
    """0 where the mouth is as in the photo, however the head moves, to 1 where its inside has to be drawn."""
    return float(ramp(np.abs((moved.shape - source.shape)[MOUTH.opening, :2]).max(), *MOUTH_CHANGES))


def pursed(source: Face, moved: Moved) -> float:
    """0 where the mouth is about as wide as in the photo or wider, 1 where it is a round hole."""
    wide, was = (np.linalg.norm(np.subtract(*face.shape[list(MOUTH_CORNERS)])) for face in (moved, source))
    return 1 - ramp(float(wide / was), *PURSED)


def shaded(moved: Moved) -> float:
    """1 where lips are parted so little that no light comes in, 0 where it does."""
    return 1 - ramp(float((moved.shape[MOUTH.lower, 1] - moved.shape[MOUTH.upper, 1]).max()), *DEEP_GAP)


def _coloured(colours: np.ndarray) -> np.ndarray:
    """(...) how far colours (..., 3) are from grey: spread of the three, of the largest."""
    most = colours.max(-1)
    return (most - colours.min(-1)) / np.maximum(most, 1)


def like_teeth(colours: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """(...) in [0, 1]: how like teeth colours (..., 3) inside of a mouth are, lighter or paler than its lips.

    Args:
        dark: (3,), `Mouth.dark`.
    """
    light = colours @ _LIGHT * (DARKNESS / max(float(dark @ _LIGHT), 1e-3))
    pale = ramp(1 - _coloured(colours) / max(float(_coloured(dark)), 0.1), *PALER) * ramp(light, *NO_SHADOW)
    return np.maximum(pale, ramp(light, *LIGHTER)).astype(np.float32)


def deep(colours: np.ndarray, dark: np.ndarray, much: np.ndarray) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which, where `much` (h, w) float32 in [0, 1] says so, all but the teeth lie
    behind the lips and get less light; `dark` (3,) is `Mouth.dark`."""
    light = np.maximum(colours @ _LIGHT, 1.0)
    start = max(0.5 * DEEP / DARKNESS * float(dark @ _LIGHT), 1e-3)
    held = np.where(light > start, start * (1 + np.tanh(light / start - 1)), light)
    teeth = cv2.GaussianBlur(like_teeth(colours, dark), (0, 0), TEETH_SOFT)
    return colours * (1 + much * (1 - teeth) * (held / light - 1))[..., None]


def light_on_teeth(across: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(h, w) float32 in [0, 1], how light upper teeth are in a head with this rotation (3, 3): less between two of
    them, and further back.

    Args:
        across: (h, w) how far to the side a point would lie in the head's frame if it were as deep as the nose's base.
    """
    ends = np.concatenate([-TEETH_END[:0:-1], TEETH_END])
    aside = -rotation[2, 0] / max(float(rotation[2, 2]), 0.1)  # by how much of its depth what lies further back is seen
    seen = (ends + aside * (ARCH_START + ARCH * ends**2)).astype(np.float32)
    apart = np.abs(across - seen[:, None, None]).min(0)
    gaps = GAP_DARK * np.exp(-np.square(apart / GAP_WIDTH))
    back = BACK_DARK * np.square(np.minimum(np.abs(across - aside * ARCH_START) / TEETH_END[-1], 1))
    return ((1 - gaps) * (1 - back)).astype(np.float32)


def in_a_row(
    colours: np.ndarray, dark: np.ndarray, opening: np.ndarray, much: np.ndarray, lit: np.ndarray
) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which, where `much` (h, w) float32 in [0, 1] says so, the teeth are an even
    row.

    Which teeth are painted between lips that are little parted, and how long each is, is a guess that changes from one
    frame to the next; how much of a row of pixels is teeth changes little.

    Args:
        dark: (3,), `Mouth.dark`.
        opening: (h, w) float32 in [0, 1], 1 between the lips.
        lit: (h, w) float32 in [0, 1], how light an upper tooth is there (`light_on_teeth`).
    """
    columns = np.flatnonzero(opening.max(0) > 0.5)
    if len(columns) == 0:
        return colours
    along = max(3, round(ROW_ALONG * (columns[-1] - columns[0] + 1)))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (along, 3), borderType=cv2.BORDER_CONSTANT)

    teeth = like_teeth(colours, dark) * opening
    in_row = teeth * _as_pale(colours, teeth, dark)
    rest = opening - teeth
    light = np.square(colours @ _LIGHT / 255) * in_row  # their colour is that of the lightest, not of their dim edges
    tooth, flesh = (mean(colours * one[..., None]) / np.maximum(mean(one), 1e-4)[..., None] for one in (light, rest))
    row = ramp(mean(in_row) / np.maximum(mean(opening), 0.05), *ROW_SHARE).astype(np.float32) * opening
    row = (cv2.GaussianBlur(row, (0, 0), TEETH_SOFT) * opening)[..., None]
    even = row * tooth * lit[..., None] + (1 - row) * (colours + teeth[..., None] * (flesh - colours))
    return colours + much[..., None] * (even - colours)


def _as_pale(colours: np.ndarray, teeth: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """(h, w) float32 in [0, 1], where colours (h, w, 3) are as pale as teeth of which `teeth` (h, w) is the share.

    They have one colour; a lower lip that shines is light, too, but not as pale. In a photo without colours all are.
    """
    coloured, lips = _coloured(colours), float(_coloured(dark))
    palest = float((teeth * coloured).sum() / max(float(teeth.sum()), 1e-3))
    for _ in range(2):
        sure = teeth * (coloured <= palest)
        palest = float((sure * coloured).sum() / max(float(sure.sum()), 1e-3))
    apart = lips - palest
    pale = ramp((lips - coloured) / max(apart, 1e-3), *AS_PALE)
    return (1 + ramp(apart, *TELL_PALE) * (pale - 1)).astype(np.float32)


def in_shadow(colours: np.ndarray, dark: np.ndarray, much: np.ndarray) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which `much` (h, w) float32 in [0, 1] lie in shadow, as dark as `dark` (3,).

    Lips that are pursed reach beyond the teeth, and no light comes in; those of drawn heads are flat.
    """
    weight = SHADOW * cv2.GaussianBlur(much, (0, 0), SHADOW_SOFT)[..., None]
    return colours + weight * (dark.astype(np.float32) - colours)


def turn_of(source: Pose, moved: Pose) -> np.ndarray:
    """(2, 2) how a flat piece of the face, at right angles to where it looks, changes from one pose to the other."""
    return (moved.scale * moved.rotation[:2, :2]) @ np.linalg.inv(source.scale * source.rotation[:2, :2])


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
    the jaw.

    Elsewhere it is dark, in the colour of the lips, until the generator paints it: tongue and palate that the photo
    shows would lie before painted teeth, and end where its opening did.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        self._source = source
        opening = source.landmarks[MOUTH.opening, :2]
        inside = Inside(photo, opening, 0.2 * source.pose.scale)
        upper = source.shape[MOUTH.upper].copy()
        upper[:, 1] += np.maximum(UPPER_TEETH, 0.5 * (source.shape[MOUTH.lower, 1] - upper[:, 1]))
        edge = source.landmarks[MOUTH.upper[::-1], :2]
        teeth = np.concatenate([source.pose.place(upper)[:, :2], opening[[10]], edge, opening[[0]]])
        lips = source.landmarks[LIPS, :2]
        rim = cv2.subtract(polygon(lips - inside.low, inside.seen.shape[::-1]), inside.seen)
        self.dark = DARKNESS * np.array(cv2.mean(inside.texture, rim if rim.any() else None))[:3]
        is_upper = polygon(teeth - inside.low, inside.seen.shape[::-1])
        above, below = self._gone_up(inside.only(is_upper)), inside.only(255 - is_upper)
        self._parts = tuple((part.only(self._teeth(part.texture)), part is below) for part in (below, above))
        parted = ramp((source.shape[MOUTH.lower, 1] - source.shape[MOUTH.upper, 1]).max(), *PARTED)
        # Their edge is the lips', which they leave behind: they fade there, or red rims would lie among painted teeth.
        seen = cv2.max(*(part.seen for part, _ in self._parts))
        apart = cv2.distanceTransform((seen > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        soft = np.minimum(255 * apart / (PIECE_SOFT * source.pose.scale), 255)
        for part, _ in self._parts:
            part.seen = (parted * np.minimum(part.seen, soft)).astype(np.uint8)

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
        lightest = np.where(lit, texture @ _LIGHT, -1).argmax(0)
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
        window, strength = canvas.window(edge), mouth_change(source, moved)
        if strength == 0 or window is None:
            return []
        low, size = window
        within = polygon(edge - low, size)
        dark = np.broadcast_to(np.round(self.dark).astype(np.uint8), (*within.shape, 3))
        canvas.blend(low, dark, within * np.float32(strength / 255))
        turn = canvas.to[:, :2] @ turn_of(source.pose, moved.pose)
        middle = source.shape[MOUTH.opening].mean(0, keepdims=True)
        change = moved.shape - source.shape
        dropped, aside = change[CHIN], TEETH_ASIDE * change[MOUTH.opening].mean(0) * [1, 0, 0]
        # under a lip that comes down a second row would be painted below theirs, if it is not a round hole
        lowered = (1 - pursed(source, moved)) * np.maximum(change[MOUTH.upper].mean(0) * [0, 1, 0], 0)
        here = source.pose.place(middle)[0, :2]
        pieces = []
        for part, with_jaw in self._parts:
            goes = aside + (dropped if with_jaw else lowered)
            there = canvas.points(moved.pose.place(middle + goes)[:, :2])[0] - low
            seen = part.warped(turn, here, there, size)
            mask = cv2.min(seen[..., 3], within)
            pieces.append(Piece(low, seen[..., :3], mask * np.float32(strength / 255), mask))
            canvas.blend(*pieces[-1][:3])
        return pieces


def _part_with(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a photo (H, W, 3) that holds points (N, 2): where it begins, and its pixels; of one at least."""
    low = np.clip(np.floor(points.min(0)).astype(int), 0, np.array(photo.shape[1::-1]) - 1)
    high = np.clip(np.ceil(points.max(0)).astype(int) + 1, low + 1, photo.shape[1::-1])
    return low, np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])


def _spread(known: np.ndarray, weight: np.ndarray, otherwise: np.ndarray, sigma: float, least: float) -> np.ndarray:
    """(h, w, 3) float32, smooth: colours times `weight` (h, w), and `otherwise` where there is not that much of it."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return (cv2.GaussianBlur(known, (0, 0), sigma) + least * otherwise) / (total + least)


class Skin:
    """A photo's skin without what stands in it: a smooth picture of its colours and light, and its grain.

    Where a side of the face that the photo shows in a few pixels is turned to the viewer, these would be drawn out to
    streaks; what is to be seen there is this.

    Args:
        photo: (H, W, 3) uint8.
        source: its face.

    Attributes:
        unrolled: (468, 2) landmarks on the skin as if it were laid out flat, in the photo's pixels.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        points = source.landmarks[:, :2]
        self._low, face = _part_with(photo, points[OVAL])
        factor = min(1.0, SKIN_PX / face.shape[1])
        size = max(2, round(factor * face.shape[1])), max(2, round(factor * face.shape[0]))
        self._scale = np.array(size) / face.shape[1::-1]
        colours = cv2.resize(face, size, interpolation=cv2.INTER_AREA).astype(np.float32)

        def mask(line: np.ndarray) -> np.ndarray:
            return polygon(cv2.convexHull(((points[line] - self._low) * self._scale).astype(np.float32))[:, 0], size)

        reach = max(1, round(SKIN_ROOM * size[0]))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        bare = cv2.erode(mask(OVAL), disc)
        for line in (*(eye.opening for eye in EYES), LIPS, *BROWS):
            bare[cv2.dilate(mask(line), disc) > 0] = 0
        weight = bare / np.float32(255)
        if (surely := bare > 127).any():
            median = np.median(colours[surely], axis=0)
            spread = np.median(np.abs(colours[surely] - median), axis=0) + SKIN_NOISE
            weight *= np.exp(-0.5 * np.square((colours - median) / (SKIN_VARIES * spread)).mean(2))
            hue = colours / np.maximum(colours.sum(2, keepdims=True), 1)  # skin has its own in the shade, too
            off = np.linalg.norm(hue - np.median(hue[surely], axis=0), axis=2)
            weight *= np.exp(-0.5 * np.square(off / (HUE_VARIES * np.median(off[surely]) + HUE_NOISE)))
        self._grain, self._grain_light = self._grain_of(face, weight > 0.6)
        shape = source.shape[:468]
        around = np.arctan2(shape[:, 0], 1.0 - shape[:, 2])  # as on a cylinder
        self.unrolled = source.pose.scale * np.column_stack([around, shape[:, 1]])
        broad = max(2, round(size[0] / SKIN_BROAD)), max(2, round(size[1] / SKIN_BROAD))
        known = colours * weight[..., None]
        less, few, rest = (cv2.resize(one, broad, interpolation=cv2.INTER_AREA) for one in (known, weight, colours))
        far = cv2.resize(_spread(less, few, rest, SKIN_FAR, 1e-6), size, interpolation=cv2.INTER_LINEAR)
        smooth = _spread(known, weight, far, SKIN_SOFT * size[0], 1e-3)
        self._picture = np.clip(np.round(smooth), 0, 255).astype(np.uint8)

    def _grain_of(self, face: np.ndarray, bare: np.ndarray) -> tuple[np.ndarray, float]:
        """(h, w, 3) float32, noise like the fine detail of the largest square of bare skin, to be laid side by side,
        and how light that is; `bare` (h, w) is smaller than the face.

        The detail's spectrum with random phases has its look without its wrinkles and moles (Galerne, Gousseau, Morel,
        "Random phase textures", TIP 2011).
        """
        apart = cv2.distanceTransform(np.pad(bare, 1).astype(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
        row, column = np.unravel_index(apart.argmax(), apart.shape)
        half = int(apart[row, column] / self._scale.max())
        if half < 2:
            return np.zeros((1, 1, 3), np.float32), 255.0
        x, y = np.round((np.array([column, row]) + 0.5) / self._scale).astype(int)
        square = face[max(0, y - half) : y + half, max(0, x - half) : x + half].astype(np.float32)
        fine = square - cv2.GaussianBlur(square, (0, 0), max(0.8, SKIN_GRAIN * face.shape[1]))
        usual = 1.4826 * float(np.median(np.abs(fine))) / max(1e-3, float(fine.std()))  # of it, wrinkles left out
        phases = np.angle(np.fft.rfft2(np.random.default_rng(0).normal(size=fine.shape[:2])))
        spectrum = np.fft.rfft2(fine, axes=(0, 1)) * np.exp(1j * phases)[..., None]
        grain = (min(1.0, usual) * np.fft.irfft2(spectrum, fine.shape[:2], axes=(0, 1))).astype(np.float32)
        return grain, max(1.0, float((square @ _LIGHT).mean()))

    def at(self, points: np.ndarray, unrolled: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 at points (h, w, 2) of the photo, which lie there (h, w, 2) on the unrolled skin."""
        there = ((points + 0.5 - self._low) * self._scale - 0.5).astype(np.float32)
        smooth = cv2.remap(self._picture, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit = np.minimum(1, smooth @ _LIGHT / self._grain_light)[..., None]  # in the shade pores are as dark as skin
        return cv2.add(smooth, lit * self.grain(unrolled), dtype=cv2.CV_8U)

    def grain(self, unrolled: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32 that is added to smooth skin, at points (h, w, 2) of it laid out flat."""
        return cv2.remap(self._grain, unrolled, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


class Palette:
    """How bright and how colourful a photo's face is: what is painted into it is no more than that.

    Args:
        photo: (H, W, 3) uint8.
        source: its face.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        outline = source.landmarks[OVAL, :2]
        low, part = _part_with(photo, outline)
        inside = polygon(outline - low, (part.shape[1], part.shape[0])) > 127
        self._brightest, self._mean, self._colourful = 255.0, np.full(2, 128.0), 1.0
        if inside.any():
            light, *colour = cv2.cvtColor(part, cv2.COLOR_RGB2YCrCb)[inside].T.astype(np.float32)
            self._brightest = BRIGHTER * float(np.percentile(light, 99.8))
            self._mean = np.mean(colour, axis=1)
            self._colourful = float(ramp(float(np.sqrt(np.var(colour, axis=1).sum())), *COLOURED))
        self._white, self._tint = self._white_of(photo, source)

    @staticmethod
    def _white_of(photo: np.ndarray, source: Face) -> tuple[np.ndarray, float]:
        """(3,) the colour of what is palest in the eyes, and how much that of painted teeth is drawn towards it: in a
        photo whose white is not white, as under yellow varnish."""
        seen = []
        for eye in EYES:
            low, part = _part_with(photo, source.landmarks[eye.opening, :2])
            opening = polygon(source.landmarks[eye.opening, :2] - low, (part.shape[1], part.shape[0]))
            seen.append(part[opening > 127])
        colours = np.concatenate(seen).astype(np.float32)
        if len(colours) < TEETH_PX:
            return np.full(3, 128.0), 0.0
        light = colours @ _LIGHT
        lit = colours[light >= np.median(light)]
        coloured = _coloured(lit)
        white = lit[coloured <= np.percentile(coloured, PALEST)].mean(0)
        return white, TINT * float(ramp(_coloured(white), *WHITE_IS_COLOURED))

    def fit(self, colours: np.ndarray) -> np.ndarray:
        """Colours (h, w, 3) float32 in [0, 255], none brighter or more colourful than the photo's."""
        painted = cv2.cvtColor(colours / np.float32(255), cv2.COLOR_RGB2YCrCb)
        light = 255 * painted[..., 0]
        start = 0.7 * self._brightest
        room = max(self._brightest - start, 1e-3)
        held = np.where(light > start, start + room * np.tanh((light - start) / room), light)
        darker = held / np.maximum(light, 1e-3)
        painted[..., 0] = held / 255
        own = (self._mean - 128) / 255 + 0.5
        for axis in (1, 2):
            colour = (painted[..., axis] - 0.5) * darker + 0.5
            painted[..., axis] = own[axis - 1] + self._colourful * (colour - own[axis - 1])
        return np.clip(255 * cv2.cvtColor(painted, cv2.COLOR_YCrCb2RGB), 0, 255)

    def teeth_like(self, colours: np.ndarray, patch: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Painted colours (h, w, 3) float32 whose teeth have the colour of those that the photo shows; where it shows
        none, of more of what is white in it.

        Args:
            patch: (h, w, 3) uint8, in which it shows them.
            shown: (h, w) uint8, 255 where it does.
        """
        patch = patch.astype(np.float32)
        kept = patch[(self._tooth(patch) > 0.5) & (shown > 127)]
        if len(kept) >= TEETH_PX:
            colour, tooth = np.median(kept, axis=0), self._tooth(colours)[..., None]
        elif self._tint:
            paler = _coloured(self._white) - _coloured(colours)
            colour, tooth = self._white, self._tint * ramp(paler, *PALER_THAN_WHITE)[..., None]
        else:
            return colours
        light = colours @ _LIGHT[:, None]
        return colours + tooth * (np.minimum(light * (colour / (colour @ _LIGHT)), 255) - colours)

    def _tooth(self, colours: np.ndarray) -> np.ndarray:
        """(h, w) float32 in [0, 1]: how like a tooth colours (h, w, 3) are, pale and light."""
        pale = 1 - ramp(_coloured(colours), *TOOTH_PALE)
        return (pale * ramp(colours @ _LIGHT / self._brightest, *TOOTH_LIGHT)).astype(np.float32)
