"""The layers of a portrait: the person cut out, the background behind it, eyeballs, the inside of the mouth.

Everything that depends on the photo alone is made once. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.canvas import Canvas, polygon
from fomm.model.face.mesh import CHIN, FOREHEAD, LIPS, MOUTH, OVAL, Eye, Pose
from fomm.model.face.motion import Face, Moved, ramp

STILL_PX = (0.03, 0.3)  # a motion below the first leaves the photo as it is, from the second on it is drawn
LID_COMES = (0.3, 0.85)  # part of the way down from which on a lid's skin is drawn, and where it is drawn in full
LID_COVER, LASHES, LASH_WIDTH = 0.95, 0.6, 0.04  # weight of that skin; brightness and width of the line of lashes
LID_OVER = 0.04  # how far a shut lid lies over the lower one, in widths of the eye
MOUTH_CHANGES = (0.015, 0.05)  # in the head's frame: up to the first the warp alone shows the mouth
DARKNESS = 0.25  # of the lips' brightness, where the mouth's inside is not known
EDGE_LEVELS = 2.5  # differences of colour, in grey levels, that the person's outline follows
GRAIN, DETAIL = 0.06, 30.0  # size, in face heights, and levels of the detail that is mirrored behind the person
CROWN = 0.42  # how far above the forehead's edge the head ends, in face heights
LEAST_CROWN = 0.18  # height of what is added to a head that the photo cuts off, in widths of the cut
SHUT = (0.02, 0.06)  # gap between lids, in widths of the eye, from which on the ball is seen
UPPER_TEETH = 0.17  # how far below the upper lip's edge its teeth reach, in the head's frame
BRIGHTER = 1.15  # than the brightest in the photo's face nothing is painted by more than this factor
COLOURED = (1.0, 2.5)  # spread of a face's colours, in grey levels: up to the first the photo has one colour only
LAYERS_PX = 400.0  # height of a face above which layers are made from a smaller photo


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
        edges = photo if edges is None else edges
        factor = LAYERS_PX / face_px
        if factor >= 1:
            matte = refine_matte(edges, person, face_px)
            return cls(matte, foreground(photo, matte, face_px), fill(photo, matte, face_px))
        height, width = photo.shape[:2]
        small_wh = max(1, round(factor * width)), max(1, round(factor * height))
        less_photo, less_person, less_edges = (
            cv2.resize(one, small_wh, interpolation=cv2.INTER_AREA) for one in (photo, person, edges)
        )
        small = cls.of(less_photo, less_person, LAYERS_PX, less_edges)
        matte, near, behind = (cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in small)
        alone = ramp(matte, 0.9, 1.0).astype(np.float32)
        hidden = cv2.dilate(small.matte, _disc(LAYERS_PX))
        hidden = cv2.resize(hidden, (width, height), interpolation=cv2.INTER_LINEAR)
        hidden = np.minimum(1.0, 8 * hidden)
        return cls(
            matte, cv2.blendLinear(photo, near, alone, 1 - alone), cv2.blendLinear(behind, photo, hidden, 1 - hidden)
        )


def _disc(face_px: float) -> np.ndarray:
    """How far around the person the photo is not trusted to be background alone."""
    reach = 2 * max(2, round(face_px / 18)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))


def refine_matte(photo: np.ndarray, person: np.ndarray, face_px: float) -> np.ndarray:
    """(H, W) float32 in [0, 1]: the person's outline drawn to the photo's own edges.

    He, Sun, Tang, "Guided image filtering", ECCV 2010.
    """
    rough = np.clip(5 * (person - 0.5) + 0.5, 0, 1).astype(np.float32)
    fine = cv2.ximgproc.guidedFilter(photo, 255 * rough, max(2, round(face_px / 16)), EDGE_LEVELS**2) / 255
    matte = np.clip((fine - 0.1) / 0.8, 0, 1)
    # what is enclosed by the person (an earring, a reflection in glasses) belongs to it
    outside = np.pad((matte < 0.5).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.where(outside[1:-1, 1:-1] == 1, 1, matte).astype(np.float32)


def foreground(photo: np.ndarray, matte: np.ndarray, face_px: float) -> np.ndarray:
    """The person's own colours, also where the background shines through and a little beyond the outline.

    Forte, "Approximate fast foreground colour estimation", ICIP 2021: averages over the person nearby.
    """
    picture = photo.astype(np.float32)
    alpha = matte[..., None]
    near, behind = picture, picture
    for size in (max(3, round(face_px / 8)), max(3, round(face_px / 40))):
        window = (size, size)
        weight = cv2.blur(matte, window)[..., None]
        own = cv2.blur(near * alpha, window) / (weight + 1e-5)
        rest = cv2.blur(behind * (1 - alpha), window) / (1 - weight + 1e-5)
        near = np.clip(own + alpha * (picture - alpha * own - (1 - alpha) * rest), 0, 255)
        behind = np.clip(rest, 0, 255)
    return np.round(near).astype(np.uint8)


def fill(photo: np.ndarray, matte: np.ndarray, face_px: float) -> np.ndarray:
    """The background with the person taken out: what lies around continues smoothly, with the photo's grain.

    Pull-push over a pyramid (Gortler et al., "The lumigraph", SIGGRAPH 1996).
    """
    hidden = cv2.dilate(matte, _disc(face_px))
    known = np.clip(1.1 - 4 * hidden, 0, 1)
    levels = [(photo.astype(np.float32) * known[..., None], known)]
    while min(levels[-1][1].shape) > 2:
        colours, weight = (cv2.pyrDown(level) for level in levels[-1])
        gain = np.minimum(1.0, 2.0 * weight) / np.maximum(weight, 1e-6)
        levels.append((colours * gain[..., None], weight * gain))
    colours, weight = levels[-1]
    filled = colours / np.maximum(weight, 1e-3)[..., None]
    for colours, weight in reversed(levels[:-1]):
        filled = cv2.pyrUp(filled, dstsize=weight.shape[::-1])
        filled = colours + (1 - weight[..., None]) * filled
    filled += (1 - known[..., None]) * _mirrored_detail(photo, known >= 1, GRAIN * face_px)
    return np.clip(np.round(filled), 0, 255).astype(np.uint8)


def _mirrored_detail(photo: np.ndarray, known: np.ndarray, size_px: float) -> np.ndarray:
    """(H, W, 3) float32: what is finer than `size_px` in the known pixels, mirrored at their edge; it fades inwards."""
    if known.all() or not known.any():
        return np.zeros(photo.shape, np.float32)
    height, width = known.shape
    weight = known.astype(np.float32)
    smooth = cv2.GaussianBlur(photo * weight[..., None], (0, 0), size_px)
    smooth /= np.maximum(cv2.GaussianBlur(weight, (0, 0), size_px), 1e-3)[..., None]
    detail = DETAIL * np.tanh((photo - smooth) / DETAIL) * weight[..., None]
    away, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(known)
    edge = np.zeros((label.max() + 1, 2), np.float32)
    edge[label[rows, columns]] = np.column_stack([columns, rows])
    here = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
    there = 2 * edge[label] - here
    found = cv2.remap(detail, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return found * np.exp(-np.square(away / (6 * size_px)))[..., None]


def crowned(layers: Layers, source: Face) -> tuple[np.ndarray, int]:
    """(A + H, W, 4) uint8, the person's colours and matte, and A, how many rows it has above the photo.

    A head that the photo cuts off at the top goes on above it, with a round top and mirrored hair.
    """
    person = np.dstack([layers.person, np.round(255 * layers.matte).astype(np.uint8)])
    cut = np.flatnonzero(layers.matte[0] > 0.5)
    forehead, chin = source.landmarks[[FOREHEAD, CHIN], :2]
    crown = forehead + CROWN * (forehead - chin)
    if len(cut) == 0 or crown[1] >= forehead[1]:
        return person, 0
    middle = int(np.clip(np.round(forehead[0]), cut[0], cut[-1]))
    beside = np.flatnonzero(layers.matte[0] <= 0.5)
    left = max(beside[beside < middle], default=-1) + 1
    right = min(beside[beside > middle], default=person.shape[1]) - 1
    if left == 0 and right == person.shape[1] - 1:  # no head: the whole picture moves
        return person, 0
    above = int(np.clip(-crown[1], LEAST_CROWN * (right - left), person.shape[0] // 2)) if right > left else 0
    if above < 2:
        return person, 0
    rows = np.arange(-above, 0, dtype=np.float32)
    narrow = np.sqrt(1 - np.square(rows / (above + 1)))[:, None]
    centre = (left + right) / 2
    x = np.arange(person.shape[1], dtype=np.float32)[None] - centre
    mirrored = np.broadcast_to(-rows[:, None], (above, person.shape[1]))
    hair = cv2.remap(person, centre + x / narrow, mirrored, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    half = (right - left) / 2
    hair[..., 3] = np.clip((half * narrow - np.abs(x) + 0.5) * 255, 0, 255)
    hair[0, :, 3] = 0  # what lies still higher is like the first row
    return np.concatenate([hair, person]), above


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
        back = np.linalg.inv(turn)
        matrix = np.column_stack([back, here - self.low - back @ there])
        back_map = cv2.WARP_INVERSE_MAP
        colours = cv2.warpAffine(
            self.texture, matrix, size_wh, flags=cv2.INTER_CUBIC | back_map, borderMode=cv2.BORDER_REPLICATE
        )
        return np.dstack([colours, cv2.warpAffine(self.seen, matrix, size_wh, flags=cv2.INTER_LINEAR | back_map)])


def change_px(points: np.ndarray, source: Face, moved: Moved) -> float:
    """How far the landmarks of these numbers are from where the photo has them."""
    return float(np.abs(moved.landmarks[points, :2] - source.landmarks[points, :2]).max())


def mouth_change(source: Face, moved: Moved) -> float:
    """0 where the mouth is as in the photo, however the head moves, to 1 where its inside has to be drawn."""
    return float(ramp(np.abs((moved.shape - source.shape)[MOUTH.opening, :2]).max(), *MOUTH_CHANGES))


def turn_of(source: Pose, moved: Pose) -> np.ndarray:
    """(2, 2) how a flat piece of the face, at right angles to where it looks, changes from one pose to the other."""
    return (moved.scale * moved.rotation[:2, :2]) @ np.linalg.inv(source.scale * source.rotation[:2, :2])


class Eyeball:
    """An eye's ball behind its lids: it keeps its form, turns to where the eye looks, and the lids close over it.

    The photo shows the part of it between the lids; the iris is completed from its visible half, the white around it
    continues.
    """

    def __init__(self, photo: np.ndarray, source: Face, eye: Eye) -> None:
        self._eye, self._source = eye, source
        landmarks = source.landmarks[:, :2]
        width = float(np.linalg.norm(landmarks[eye.outer] - landmarks[eye.inner]))
        self._inside = Inside(photo, landmarks[eye.opening], 0.45 * width)
        centre = landmarks[eye.iris[0]] - self._inside.low
        radius = float(np.linalg.norm(landmarks[eye.iris[1:]] - landmarks[eye.iris[0]], axis=1).mean())
        self._inside.texture = _complete(self._inside.texture, self._inside.seen > 127, centre, radius)

    def draw(self, canvas: Canvas, moved: Moved) -> None:
        """Draw the ball between the moved lids."""
        eye, source = self._eye, self._source
        corners, iris = [eye.outer, eye.inner], eye.iris[0]
        turn = turn_of(source.pose, moved.pose)
        looks = moved.landmarks[iris, :2] - moved.landmarks[corners, :2].mean(0)
        looked = source.landmarks[iris, :2] - source.landmarks[corners, :2].mean(0)
        opening = moved.landmarks[eye.opening, :2]
        change = change_px(eye.opening, source, moved) + np.abs(looks - turn @ looked).max()
        gap = float(np.linalg.norm(moved.landmarks[eye.upper, :2] - moved.landmarks[eye.lower, :2], axis=1).mean())
        apart = gap / float(np.linalg.norm(opening[0] - opening[8]))  # a line without width would still be drawn
        strength = float(ramp(change, *STILL_PX) * ramp(apart, *SHUT))
        edge = canvas.points(opening)
        window = canvas.window(edge)
        if strength == 0 or window is None:
            return
        low, size = window
        there = canvas.points(moved.landmarks[iris, :2]) - low
        ball = self._inside.warped(canvas.to[:, :2] @ turn, source.landmarks[iris, :2], there, size)
        canvas.blend(low, ball[..., :3], polygon(edge - low, size).astype(np.float32) * (strength / 255))


class Lid:
    """The skin of an upper lid that comes down.

    In an open eye most of it is folded away; what the photo shows of it, its shadow and the roots of the lashes, would
    be stretched over the whole eye and look like an open one. Instead the skin around the eye goes on over the ball,
    and the lashes stay a line.
    """

    def __init__(self, photo: np.ndarray, source: Face, eye: Eye) -> None:
        self._eye, self._source = eye, source
        width = float(np.linalg.norm(source.landmarks[eye.outer, :2] - source.landmarks[eye.inner, :2]))
        near = Inside(photo, source.landmarks[[*eye.fold, *eye.bag], :2], 0.2 * width)
        smooth = cv2.GaussianBlur(near.texture, (0, 0), max(0.5, 0.05 * width))

        def colours(points: np.ndarray) -> np.ndarray:
            x, y = np.round(source.landmarks[points, :2] - near.low).astype(int).T
            return smooth[y.clip(0, smooth.shape[0] - 1), x.clip(0, smooth.shape[1] - 1)].astype(np.float32)

        self._above, self._below = (_even(colours(row)) for row in (eye.fold, eye.bag))  # (3, 3)
        self._lashes = LASHES * colours(eye.upper).min(0)

    def draw(self, canvas: Canvas, moved: Moved) -> None:
        """Draw the lid as far as it has come down."""
        eye, source = self._eye, self._source
        own, now = (float((s[eye.lower, 1] - s[eye.upper, 1]).mean()) for s in (source.shape, moved.shape))
        closed = float(ramp(1 - now / own, *LID_COMES)) if own > 0 else 0.0
        rows = [canvas.points(moved.landmarks[row, :2]) for row in (eye.fold, eye.crease, eye.upper)]
        corners = canvas.points(moved.landmarks[[eye.outer, eye.inner], :2])
        window = canvas.window(np.concatenate([*rows, corners]))
        if closed == 0 or window is None:
            return
        low, size = window
        # along: from corner to corner 0 to 1; down: across it, in the same unit
        axis = corners[1] - corners[0]
        flip = 1.0 if axis[0] * moved.pose.rotation[1, 1] - axis[1] * moved.pose.rotation[0, 1] > 0 else -1.0
        frame = np.array([axis, flip * np.array([-axis[1], axis[0]])]) / (axis @ axis)
        x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) + start for n, start in zip(size, low, strict=True)))
        along, down = (f[0] * (x - corners[0, 0]) + f[1] * (y - corners[0, 1]) for f in frame)
        top, begins, edge = (_curve((row - corners[0]) @ frame.T, along) for row in rows)
        within = ((along > 0) & (along < 1)).astype(np.float32)
        edge = edge + LID_OVER * closed * 4 * along * (1 - along)
        lid = ramp(down, top + 0.2 * (begins - top), begins + 1e-3) * ramp(edge - down, -0.5 / size[0], 0.5 / size[0])
        lid *= within * ramp(along, 0.0, 0.1) * ramp(1 - along, 0.0, 0.1)
        powers = np.stack([np.ones_like(along), along, along**2], -1)  # (h, w, 3)
        skin, under = powers @ self._above, powers @ self._below
        part = np.clip((down - begins) / np.maximum(edge - begins, 1e-3), 0, 1)[..., None]
        colour = skin + (0.3 + 0.4 * part) * (under - skin)
        canvas.blend(low, np.clip(colour, 0, 255).astype(np.uint8), (LID_COVER * closed * lid).astype(np.float32))
        line = np.exp(-(((down - edge) / LASH_WIDTH) ** 2)) * within * ramp(along, 0.0, 0.1) * ramp(1 - along, 0.0, 0.1)
        lashes = np.broadcast_to(np.round(self._lashes).astype(np.uint8), (*line.shape, 3))
        canvas.blend(low, lashes, (0.75 * closed * line).astype(np.float32))


class Mouth:
    """The inside of the mouth as far as the photo shows it: upper teeth keep to the skull, the rest to the jaw.

    Elsewhere it is dark, in the colour of the lips, until the generator paints it.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        self._source = source
        opening = source.landmarks[MOUTH.opening, :2]
        inside = Inside(photo, opening, 0.2 * source.pose.scale)
        upper = source.shape[MOUTH.upper].copy()
        upper[:, 1] += UPPER_TEETH
        edge = source.landmarks[MOUTH.upper[::-1], :2]
        teeth = np.concatenate([source.pose.place(upper)[:, :2], opening[[10]], edge, opening[[0]]])
        lips = source.landmarks[LIPS, :2]
        rim = cv2.subtract(polygon(lips - inside.low, inside.seen.shape[::-1]), inside.seen)
        self._dark = DARKNESS * np.array(cv2.mean(inside.texture, rim if rim.any() else None))[:3]
        is_teeth = polygon(teeth - inside.low, inside.seen.shape[::-1])
        self._parts = (inside.only(255 - is_teeth), True), (inside.only(is_teeth), False)

    def draw(self, canvas: Canvas, moved: Moved) -> np.ndarray:
        """Draw it between the moved lips. Returns (H, W) uint8 of the canvas: where the photo showed what is seen."""
        source, shown = self._source, np.zeros(canvas.picture.shape[:2], np.uint8)
        edge = canvas.points(moved.landmarks[MOUTH.opening, :2])
        window = canvas.window(edge)
        strength = mouth_change(source, moved)
        if strength == 0 or window is None:
            return shown
        low, size = window
        within = polygon(edge - low, size)
        turn = canvas.to[:, :2] @ turn_of(source.pose, moved.pose)
        middle = source.shape[MOUTH.opening].mean(0, keepdims=True)
        dropped = (moved.shape - source.shape)[CHIN]
        here = source.pose.place(middle)[0, :2]
        dark = np.broadcast_to(np.round(self._dark).astype(np.uint8), (*within.shape, 3))
        canvas.blend(low, dark, within.astype(np.float32) * (strength / 255))
        for part, with_jaw in self._parts:
            there = canvas.points(moved.pose.place(middle + with_jaw * dropped)[:, :2])[0] - low
            piece = part.warped(turn, here, there, size)
            mask = cv2.min(piece[..., 3], within)
            canvas.blend(low, piece[..., :3], mask.astype(np.float32) * (strength / 255))
            here_too = shown[low[1] : low[1] + size[1], low[0] : low[0] + size[0]]
            np.maximum(here_too, mask, out=here_too)
        return shown


class Palette:
    """How bright and how colourful a photo's face is: what is painted into it is no more than that.

    Args:
        photo: (H, W, 3) uint8.
        source: its face.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        outline = source.landmarks[OVAL, :2]
        low = np.clip(np.floor(outline.min(0)).astype(int), 0, np.array(photo.shape[1::-1]) - 1)
        high = np.clip(np.ceil(outline.max(0)).astype(int) + 1, low + 1, photo.shape[1::-1])
        part = np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
        inside = polygon(outline - low, (part.shape[1], part.shape[0])) > 127
        self._brightest, self._mean, self._colourful = 255.0, np.full(2, 128.0), 1.0
        if inside.any():
            light, *colour = cv2.cvtColor(part, cv2.COLOR_RGB2YCrCb)[inside].T.astype(np.float32)
            self._brightest = BRIGHTER * float(np.percentile(light, 99.8))
            self._mean = np.mean(colour, axis=1)
            self._colourful = float(ramp(float(np.sqrt(np.var(colour, axis=1).sum())), *COLOURED))

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


def _curve(points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """How far down a row (7, 2) of (along, down) between the eye's corners lies at each place (H, W) along."""
    order = np.argsort(points[:, 0])
    return np.interp(along, [0, *points[order, 0], 1], [0, *points[order, 1], 0])


def _even(colours: np.ndarray) -> np.ndarray:
    """Colours (7, 3) of a row as (3, 3) coefficients of a parabola from its one end, 0, to its other, 1.

    Outliers do not count: each is the median of itself and its neighbours first.
    """
    padded = np.pad(colours, ((1, 1), (0, 0)), mode="edge")
    medians = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    place = (np.arange(7) + 1) / 8
    return np.linalg.lstsq(np.stack([np.ones(7), place, place**2], 1), medians, rcond=None)[0]


def _complete(patch: np.ndarray, seen: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """An eyeball's texture (S, S, 3): its `seen` pixels, the iris mirrored where lids hid it, white beyond."""
    if not seen.any():
        return patch
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    texture, known = patch.copy(), seen.copy()
    inside = np.hypot(x - centre[0], y - centre[1]) <= 1.12 * radius
    for mirror in ((x, 2 * centre[1] - y), (2 * centre[0] - x, 2 * centre[1] - y), (2 * centre[0] - x, y)):
        there = [np.round(m).astype(np.float32) for m in mirror]
        visible = cv2.remap(known.astype(np.uint8), *there, cv2.INTER_NEAREST, borderValue=0) > 0
        wanted = inside & ~known & visible
        other = cv2.remap(texture, *(m.astype(np.float32) for m in mirror), cv2.INTER_LINEAR)
        texture[wanted] = other[wanted]
        known |= wanted
    missing = (~known).astype(np.uint8)
    return cv2.inpaint(texture, missing, 3, cv2.INPAINT_TELEA)
