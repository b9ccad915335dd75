"""Eyes of a portrait: the ball, whose white stays while the iris turns, and the lid that comes down over it.

Everything that depends on the photo alone is made once. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from fomm.model.face.canvas import Canvas, polygon
from fomm.model.face.layers import STILL_PX, Inside, change_px, turn_of
from fomm.model.face.mesh import Eye
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.skin import Skin

SHUT = (0.02, 0.06)  # gap between lids, in widths of the eye, from which on the ball is seen
IRIS_RINGS = np.linspace(0, 1.3, 9)  # radii between which an iris has one colour
SHADOW = (0.55, 0.85)  # of the white's brightness: what is darker is a lid's shadow or a lash, and goes with the lid
LIDS_MOVE = (0.01, 0.06)  # movement of the lids, in widths of the eye, that brings out what they hid in the photo
IRIS_MOVES = (0.03, 0.25)  # the same of the iris, in its radii
LIMBUS = (0.9, 1.08)  # radii between which the iris goes over into the white
NEAR_IRIS = (1.08, 1.3)  # the same for where the photo shows white alone
LID_EDGE = 0.07  # how far from a lid's edge what the photo shows of the ball is not trusted, in widths of the eye
LID_SHADOW = 0.6  # how much darker the ball is right below the upper lid
LASHES_REACH = (0.13, 0.06)  # how far inwards a lid's edge shows its shadow and lashes, in widths of the eye ...
LASHES_REACH_PX = (1.0, 0.5)  # ... and this much more: where the eye looks as in the photo, and elsewhere
WHITE_LIGHT, WHITE_COLOUR = (1.0, 1.9), 1.2  # bounds of the white's brightness and colourfulness, of the skin's
MOST_WHITE = 75.0  # percentile of brightness of what is between lids, up to which it may be lashes or shadow
LID_COMES = (0.3, 0.85)  # part of the way down from which on a lid's skin is drawn, and where it is drawn in full
LID_COVER, LASHES, LASH_WIDTH = 0.95, 0.45, 0.055  # weight of that skin; brightness and width of the line of lashes
LID_ENDS = 0.2  # how far from the eye's corners that skin is drawn in full, in widths of the eye
LID_OVER = 0.05  # how far a shut lid lies over the lower one, in widths of the eye


class Eyeball:
    """An eye's ball behind its lids: the white stays with them, the iris turns to where the eye looks.

    What the photo shows stays as it is. What its lids or its iris hide is made up: an iris from the colours that the
    photo has at each distance from its middle, and a white as bright as the photo's, in the upper lid's shadow.
    """

    def __init__(self, photo: np.ndarray, source: Face, eye: Eye) -> None:
        self._eye, self._source = eye, source
        points = source.landmarks[:, :2]
        axis = points[eye.inner] - points[eye.outer]
        self._width = width = float(np.linalg.norm(axis))
        self._inside = inside = Inside(photo, points[eye.opening], 0.45 * width)
        size = inside.seen.shape[::-1]
        between = polygon(points[eye.opening] - inside.low, size)
        y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
        iris = points[eye.iris] - inside.low
        across, down = (max(0.5, float(np.linalg.norm(iris[a] - iris[b])) / 2) for a, b in ((1, 3), (2, 4)))
        self._radius = (across + down) / 2
        away = np.hypot((x - iris[0, 0]) / across, (y - iris[0, 1]) / down)
        self._disc = 1 - ramp(away, *LIMBUS).astype(np.float32)
        self._beside = ramp(away, *NEAR_IRIS).astype(np.float32)
        along = (np.dstack([x, y]) + inside.low - points[eye.outer]) @ axis / width**2
        near = np.round(points[[*eye.bag, *eye.crease]]).astype(int)
        skin = photo[near[:, 1].clip(0, photo.shape[0] - 1), near[:, 0].clip(0, photo.shape[1] - 1)]
        clear = ramp(_depth(between), 0.5, max(1.5, LID_EDGE * width)).astype(np.float32)
        self._white = _white(inside.texture, clear * self._beside, along, skin.astype(np.float32))
        self._iris = _iris(inside.texture, clear, away)
        light, white = (
            cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(np.float32) for one in (inside.texture, self._white)
        )
        # (h, w) in [0, 1]: where the photo shows the ball, and where it does without a trace of the lids
        self._between = between.astype(np.float32) / 255
        self._clear = clear * np.maximum(ramp(light / np.maximum(white, 1), *SHADOW), 1 - self._beside)

    def draw(self, canvas: Canvas, moved: Moved) -> None:
        """Draw the ball between the moved lids."""
        eye, source = self._eye, self._source
        corners, iris = [eye.outer, eye.inner], eye.iris[0]
        now, was = moved.landmarks[:, :2], source.landmarks[:, :2]
        turn = turn_of(source.pose, moved.pose)
        rested, rests = was[corners].mean(0), now[corners].mean(0)
        looks = now[iris] - rests - turn @ (was[iris] - rested)
        change = change_px(eye.opening, source, moved) + np.abs(looks).max()
        gap = float(np.linalg.norm(now[eye.upper] - now[eye.lower], axis=1).mean())
        apart = gap / float(np.linalg.norm(now[eye.outer] - now[eye.inner]))
        strength = float(ramp(change, *STILL_PX) * ramp(apart, *SHUT))  # a line without width would still be drawn
        edge = canvas.points(now[eye.opening])
        window = canvas.window(edge)
        if strength == 0 or window is None:
            return
        low, size = window
        scale = moved.pose.scale / source.pose.scale
        lids = ramp(_lids_moved(source, moved, eye), *LIDS_MOVE)
        known = self._between + np.float32(lids) * (self._clear - self._between)
        turned = ramp(float(np.linalg.norm(looks)) / (scale * self._radius), *IRIS_MOVES)
        of_white = known * (1 + np.float32(turned) * (self._beside - 1))
        to = canvas.to[:, :2] @ turn

        photo, with_corners, with_iris = self._inside.texture, (rested, rests), (was[iris], now[iris])

        def placed(picture: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
            return self._inside.placed(picture, to, here, canvas.points(there[None])[0] - low, size)

        white = placed(_mixed(photo, self._white, of_white), *with_corners)
        ball = placed(_mixed(photo, self._iris, known), *with_iris)
        disc = placed(self._disc, *with_iris)
        ball = cv2.blendLinear(ball, white, disc, 1 - disc)
        width = self._width * scale * float(np.linalg.norm(canvas.to[:, 0]))
        between = polygon(edge - low, size)
        below = canvas.to[:, :2] @ (moved.pose.rotation[:2, 1] * 0.6 * LID_EDGE * self._width * scale)
        lit = cv2.GaussianBlur(polygon(edge - low + below, size), (0, 0), max(0.5, LID_EDGE * width))
        shadow = LID_SHADOW / 255**2 * (255 - lit.astype(np.float32)) * (255 - ball[..., 3])
        colours = np.round(ball[..., :3] * (1 - shadow)[..., None]).astype(np.uint8)
        # next to the lids there are their own edges, which the warp moves: narrower where they show the old iris
        reach = float(np.interp(turned, (0, 1), LASHES_REACH) * width + np.interp(turned, (0, 1), LASHES_REACH_PX))
        deep = ramp(_depth(between), 0.0, reach).astype(np.float32)
        canvas.blend(low, colours, strength * np.minimum(between.astype(np.float32) / 255, deep))


def _depth(mask: np.ndarray) -> np.ndarray:
    """(h, w) how far inside of a mask (h, w) uint8 a pixel lies; what is cut off by the edge ends there."""
    return cv2.distanceTransform(np.pad((mask > 127).astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]


def _mixed(photo: np.ndarray, made: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(h, w, 4) uint8: the photo as far as it is `known` (h, w), else what is made up; and how much is known."""
    return np.dstack([cv2.blendLinear(photo, made, known, 1 - known), np.round(255 * known).astype(np.uint8)])


def _lids_moved(source: Face, moved: Moved, eye: Eye) -> float:
    """How far the lids are from where the photo has them, in widths of the eye."""
    corners = [eye.outer, eye.inner]
    change = moved.shape[eye.opening] - source.shape[eye.opening]
    change -= (moved.shape[corners] - source.shape[corners]).mean(0)
    width = float(np.linalg.norm(source.shape[eye.outer] - source.shape[eye.inner]))
    return float(np.abs(change[:, 1]).max()) / width


def _white(texture: np.ndarray, seen: np.ndarray, along: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: the white of an eye without its iris, as bright as it is `seen` (h, w), from corner to corner.

    Args:
        along: (h, w) 0 to 1 from corner to corner.
        skin: (N, 3) colours of the skin around it: the white is no darker, and only a varnish gives it more colour.
    """

    def split(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        light = colours @ np.array([0.299, 0.587, 0.114], np.float32)
        return light, colours - light[..., None]

    picture = texture.astype(np.float32)
    skin_light, skin_colour = split(np.median(skin, axis=0))
    light, colour = split(picture)
    least, most = (bound * float(skin_light) for bound in WHITE_LIGHT)
    most_colour = WHITE_COLOUR * float(np.linalg.norm(skin_colour))
    sides: list[np.ndarray | None] = []
    for weight in (1 - along, along):
        near = seen * np.clip(weight, 0, 1) ** 2 > 0.2
        if near.sum() < 4:
            sides.append(None)
            continue
        bright = near & (light >= np.percentile(light[near], MOST_WHITE))
        tint = colour[bright].mean(0)
        tint *= min(1.0, most_colour / max(float(np.linalg.norm(tint)), 1e-3))
        sides.append(np.clip(light[bright].mean(), least, most) + tint)
    known = [side for side in sides if side is not None] or [1.15 * skin_light + 0.3 * skin_colour]
    ends = [known[0] if sides[0] is None else sides[0], known[-1] if sides[1] is None else sides[1]]
    part = np.clip(along, 0, 1)[..., None]
    return np.clip((1 - part) * ends[0] + part * ends[1], 0, 255).astype(np.uint8)


def _iris(texture: np.ndarray, seen: np.ndarray, away: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: an iris with the colours that are `seen` (h, w) at each distance `away` (h, w), in radii."""
    at, colours = [], []
    for low, high in pairwise(IRIS_RINGS):
        here = (away >= low) & (away < high) & (seen > 0.5)
        if here.any():
            at.append((low + high) / 2)
            colours.append(np.median(texture[here], axis=0))
    if not at:
        return texture.copy()
    channels = [np.interp(away, at, [colour[k] for colour in colours]) for k in range(3)]
    return np.round(np.dstack(channels)).astype(np.uint8)


class Lid:
    """The skin of an upper lid that comes down.

    In an open eye most of it is folded away; what the photo shows of it, its shadow and the roots of the lashes, would
    be stretched over the whole eye and look like an open one. Instead the skin around the eye goes on over the ball,
    and the lashes stay a line.
    """

    def __init__(self, photo: np.ndarray, source: Face, eye: Eye, skin: Skin) -> None:
        self._eye, self._source, self._skin = eye, source, skin
        self._width = width = float(np.linalg.norm(source.landmarks[eye.outer, :2] - source.landmarks[eye.inner, :2]))
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
        # along: from corner to corner 0 to 1; down: across it, in the same unit
        axis = corners[1] - corners[0]
        flip = 1.0 if axis[0] * moved.pose.rotation[1, 1] - axis[1] * moved.pose.rotation[0, 1] > 0 else -1.0
        across = flip * np.array([-axis[1], axis[0]])
        window = canvas.window(np.concatenate([*rows, corners, rows[-1] + (LID_OVER + 2 * LASH_WIDTH) * across]))
        if closed == 0 or window is None:
            return
        low, size = window
        frame = np.array([axis, across]) / (axis @ axis)
        x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) + start for n, start in zip(size, low, strict=True)))
        along, down = (f[0] * (x - corners[0, 0]) + f[1] * (y - corners[0, 1]) for f in frame)
        top, begins, edge = (_curve((row - corners[0]) @ frame.T, along) for row in rows)
        within = ((along > 0) & (along < 1)).astype(np.float32)
        edge = edge + LID_OVER * closed * 4 * along * (1 - along)
        lid = ramp(down, top + 0.2 * (begins - top), begins + 1e-3) * ramp(edge - down, -0.5 / size[0], 0.5 / size[0])
        lid *= within * ramp(along, 0.0, LID_ENDS) * ramp(1 - along, 0.0, LID_ENDS)
        powers = np.stack([np.ones_like(along), along, along**2], -1)  # (h, w, 3)
        skin, under = powers @ self._above, powers @ self._below
        part = np.clip((down - begins) / np.maximum(edge - begins, 1e-3), 0, 1)[..., None]
        colour = skin + (0.3 + 0.4 * part) * (under - skin)
        colour += self._skin.grain((self._width * np.dstack([along, down])).astype(np.float32))
        canvas.blend(low, np.clip(colour, 0, 255).astype(np.uint8), (LID_COVER * closed * lid).astype(np.float32))
        ends = np.sqrt(np.clip(4 * along * (1 - along), 1e-3, 1))  # the line gets faint at the corners
        line = np.exp(-(((down - edge) / LASH_WIDTH) ** 2)) * within * ends
        lashes = np.broadcast_to(np.round(self._lashes).astype(np.uint8), (*line.shape, 3))
        canvas.blend(low, lashes, (0.85 * closed * line).astype(np.float32))


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
