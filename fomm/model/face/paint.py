"""How what is painted into a mouth is coloured and lit. Pictures are (h, w, 3) float32 RGB in [0, 255]."""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.canvas import part_with, polygon
from fomm.model.face.mesh import EYES, OVAL
from fomm.model.face.motion import Face, ramp

DARKNESS = 0.25  # of the lips' brightness, where the mouth's inside is not known
SHADOW, SHADOW_SOFT = 0.9, 1.5  # how dark it is behind pursed lips; how softly that ends, in pixels of the patch
BRIGHTER = 1.15  # than the brightest in the photo's face nothing is painted by more than this factor
TOOTH_PALE, TOOTH_LIGHT = (0.15, 0.32), (0.4, 0.6)  # spread of a tooth's colours, of the largest; light, of the face's
TEETH_PX = 12  # of the generator's patch: fewer say nothing of the teeth's colour
PALEST, WHITE_IS_COLOURED = 30.0, (0.4, 0.55)  # per cent of the lit part of eyes that are white; spread of its colours
TINT, PALER_THAN_WHITE = 0.8, (0.0, 0.2)  # part of the way to that white that what is paler by so much is drawn then
DEEP = 0.6  # how light what is painted beside the teeth may be, of the lips
PALER, NO_SHADOW = (0.08, 0.2), (0.6, 0.9)  # by what part less coloured than the lips teeth are, and how light, of them
# Where upper teeth end, sideways from the middle, in the head's frame: 8.5, 6.5 and 7.5 mm wide (Nelson, "Wheeler's
# dental anatomy"), those further back seen foreshortened, in a head whose eyes are 63 mm apart.
TEETH_END = np.array([0.0, 0.135, 0.24, 0.355, 0.43, 0.49])
ARCH, ARCH_START = 2.6, 0.08  # their depth by the square of that; the foremost's, likewise
GAP_WIDTH, GAP_DARK, BACK_DARK = 0.011, 0.13, 0.3  # how wide, likewise, and dark it is between two; and at the last
AS_PALE = (0.3, 0.6)  # how far from the lips' colour towards the palest teeth's what is one of their row is
TELL_PALE = (0.05, 0.1)  # by how much less coloured than lips they have to be for that
ROW_ALONG, ROW_SHARE = 0.4, (0.15, 0.45)  # part of the mouth's width, and how much of it is teeth where their row is
LEAST_FLESH = 0.02  # where less of what is around is none of them, what is beside them is as elsewhere in the mouth
LIGHTER, TEETH_SOFT = (1.2, 1.5), 0.8  # what is as light as this is teeth; how softly they end, in pixels of the patch
COLOURED = (1.0, 2.5)  # spread of a face's colours, in grey levels: up to the first the photo has one colour only
LIGHT = np.array([0.299, 0.587, 0.114], np.float32)  # how much each colour adds to it


def saturation(colours: np.ndarray) -> np.ndarray:
    """(...) in [0, 1], of colours (..., 3), as in HSV."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]  # NumPy is slow along so short an axis
    most = np.maximum(np.maximum(red, green), blue)
    return (most - np.minimum(np.minimum(red, green), blue)) / np.maximum(most, 1)


def like_teeth(colours: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """(...) in [0, 1]: how like teeth colours (..., 3) inside of a mouth are, lighter or paler than its lips.

    Args:
        dark: (3,), `Mouth.dark`.
    """
    light = colours @ LIGHT * (DARKNESS / max(float(dark @ LIGHT), 1e-3))
    pale = ramp(1 - saturation(colours) / max(float(saturation(dark)), 0.1), *PALER) * ramp(light, *NO_SHADOW)
    return np.maximum(pale, ramp(light, *LIGHTER)).astype(np.float32)


def deep(colours: np.ndarray, dark: np.ndarray, much: np.ndarray) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which, where `much` (h, w) float32 in [0, 1] says so, all but the teeth lie
    behind the lips and get less light; `dark` (3,) is `Mouth.dark`."""
    light = np.maximum(colours @ LIGHT, 1.0)
    start = max(0.5 * DEEP / DARKNESS * float(dark @ LIGHT), 1e-3)
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
    colours: np.ndarray, dark: np.ndarray, opening: np.ndarray, much: np.ndarray, lit: np.ndarray, below: np.ndarray
) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which, where `much` (h, w) float32 in [0, 1] says so, the teeth are an even
    row.

    Which teeth are painted between lips that are little parted, and how long each is, is a guess that changes from one
    frame to the next; how much of a row of pixels is teeth changes little.

    Args:
        dark: (3,), `Mouth.dark`.
        opening: (h, w) float32 in [0, 1], 1 between the lips.
        lit: (h, w) float32 in [0, 1], how light an upper tooth is there (`light_on_teeth`).
        below: (h, w) float32 in [0, 1], 1 below teeth that the photo shows: none are painted there.
    """
    columns = np.flatnonzero(opening.max(0) > 0.5)
    if len(columns) == 0:
        return colours
    along = max(3, round(ROW_ALONG * (columns[-1] - columns[0] + 1)))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (along, 3), borderType=cv2.BORDER_CONSTANT)

    teeth = like_teeth(colours, dark) * opening
    in_row = teeth * _as_pale(colours, teeth, dark) * (1 - below)
    rest = opening - teeth
    light = np.square(colours @ LIGHT / 255) * in_row  # their colour is that of the lightest, not of their dim edges
    tooth = mean(colours * light[..., None]) / np.maximum(mean(light), 1e-4)[..., None]
    other = colours * rest[..., None]
    usual = (other.sum((0, 1)) + dark.astype(np.float32)) / (rest.sum() + 1)  # where all of a row is teeth
    flesh = (mean(other) + LEAST_FLESH * usual) / (mean(rest) + LEAST_FLESH)[..., None]
    row = ramp(mean(in_row) / np.maximum(mean(opening), 0.05), *ROW_SHARE).astype(np.float32) * opening
    row = (cv2.GaussianBlur(row, (0, 0), TEETH_SOFT) * opening * (1 - below))[..., None]
    gone = (cv2.GaussianBlur(cv2.dilate(teeth, np.ones((3, 3))), (0, 0), TEETH_SOFT) * opening)[..., None]
    even = row * tooth * lit[..., None] + (1 - row) * (colours + gone * (flesh - colours))
    return colours + np.maximum(much, below)[..., None] * (even - colours)


def _as_pale(colours: np.ndarray, teeth: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """(h, w) float32 in [0, 1], where colours (h, w, 3) are as pale as teeth of which `teeth` (h, w) is the share.

    They have one colour; a lower lip that shines is light, too, but not as pale. In a photo without colours all are.
    """
    saturated, lips = saturation(colours), float(saturation(dark))
    palest = float((teeth * saturated).sum() / max(float(teeth.sum()), 1e-3))
    for _ in range(2):
        sure = teeth * (saturated <= palest)
        palest = float((sure * saturated).sum() / max(float(sure.sum()), 1e-3))
    apart = lips - palest
    pale = ramp((lips - saturated) / max(apart, 1e-3), *AS_PALE)
    return (1 + ramp(apart, *TELL_PALE) * (pale - 1)).astype(np.float32)


def in_shadow(colours: np.ndarray, dark: np.ndarray, much: np.ndarray) -> np.ndarray:
    """Painted colours (h, w, 3) float32 of which `much` (h, w) float32 in [0, 1] lie in shadow, as dark as `dark` (3,).

    Lips that are pursed reach beyond the teeth, and no light comes in; those of drawn heads are flat.
    """
    weight = SHADOW * cv2.GaussianBlur(much, (0, 0), SHADOW_SOFT)[..., None]
    return colours + weight * (dark.astype(np.float32) - colours)


class Palette:
    """How bright and how colourful a photo's face is: what is painted into it is no more than that.

    Args:
        photo: (H, W, 3) uint8.
        source: its face.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        outline = source.landmarks[OVAL, :2]
        low, part = part_with(photo, outline)
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
            low, part = part_with(photo, source.landmarks[eye.opening, :2])
            opening = polygon(source.landmarks[eye.opening, :2] - low, (part.shape[1], part.shape[0]))
            seen.append(part[opening > 127])
        colours = np.concatenate(seen).astype(np.float32)
        if len(colours) < TEETH_PX:
            return np.full(3, 128.0), 0.0
        light = colours @ LIGHT
        lit = colours[light >= np.median(light)]
        saturated = saturation(lit)
        white = lit[saturated <= np.percentile(saturated, PALEST)].mean(0)
        return white, TINT * float(ramp(saturation(white), *WHITE_IS_COLOURED))

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
            paler = saturation(self._white) - saturation(colours)
            colour, tooth = self._white, self._tint * ramp(paler, *PALER_THAN_WHITE)[..., None]
        else:
            return colours
        light = colours @ LIGHT[:, None]
        return colours + tooth * (np.minimum(light * (colour / (colour @ LIGHT)), 255) - colours)

    def _tooth(self, colours: np.ndarray) -> np.ndarray:
        """(h, w) float32 in [0, 1]: how like a tooth colours (h, w, 3) are, pale and light."""
        pale = 1 - ramp(saturation(colours), *TOOTH_PALE)
        return (pale * ramp(colours @ LIGHT / self._brightest, *TOOTH_LIGHT)).astype(np.float32)
