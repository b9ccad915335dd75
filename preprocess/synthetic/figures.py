"""Dancing figures: a drawn category that is not a face, for the tutorial on fine-tuning (docs/finetune.md).

A `Figure` says how a dancer looks, a `Posture` what it does; both are pure functions of a seed. Lengths are in units of
about the figure's height; (x, y) with y down, the floor under the dancer is (0, 0).
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from fomm.errors import InputError, require_at_least
from fomm.files import atomic_output, require_new
from fomm.video import VideoWriter

Colour = tuple[float, float, float]

VIEW = 1.3  # units across the picture
MIDDLE = np.array([0.0, -0.52])  # the point in the middle of the picture
FINE = 4  # drawn this many times larger, then averaged


@dataclass(frozen=True)
class Figure:
    """How a dancer looks: lengths in units, colours RGB 0..255."""

    head: float  # radius
    torso: float
    shoulders: float  # half widths
    hips: float
    arm: float  # upper arm and forearm each
    leg: float  # thigh and shank each
    limb: float  # thickness
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    wall: Colour
    floor: Colour
    lamp: tuple[float, float, float]  # x, y, radius of the disc of light on the wall


@dataclass(frozen=True)
class Posture:
    """What a dancer does in one frame. Angles are radians; pairs are (left, right) in the picture."""

    shift: float = 0.0  # of the hips to the right
    crouch: float = 0.02  # of the hips, 0 = straight legs
    lean: float = 0.0  # of the torso, clockwise
    nod: float = 0.0  # of the head on top of that
    shoulders: tuple[float, float] = (0.3, 0.3)  # 0 = the arm hangs, pi / 2 = it points outwards
    elbows: tuple[float, float] = (0.3, 0.3)  # bent upwards by
    lifts: tuple[float, float] = (0.0, 0.0)  # of the feet off the floor


def random_figure(seed: int) -> Figure:
    """The figure of this seed (>= 0)."""
    rng = np.random.default_rng([seed, 0xF1])
    u = rng.uniform
    hue = u()
    skins = ((255, 219, 187), (240, 190, 150), (205, 146, 104), (150, 98, 66), (104, 66, 46))
    return Figure(
        head=u(0.115, 0.145), torso=u(0.25, 0.31), shoulders=u(0.095, 0.13), hips=u(0.055, 0.075), arm=u(0.15, 0.18),
        leg=u(0.195, 0.225), limb=u(0.075, 0.095), skin=skins[rng.integers(len(skins))],
        hair=_colour(u(0.0, 0.13), u(0.2, 0.8), u(0.12, 0.75)),
        top=_colour(hue + u(0.25, 0.75), u(0.5, 0.9), u(0.6, 1)), trousers=_colour(u(), u(0.2, 0.7), u(0.2, 0.55)),
        shoes=_colour(u(), u(0, 0.9), u(0.15, 0.95)), wall=_colour(hue, u(0.12, 0.4), u(0.72, 0.95)),
        floor=_colour(hue + u(-0.1, 0.1), u(0.2, 0.5), u(0.4, 0.65)),
        lamp=(u(-0.5, 0.5), u(-1.05, -0.7), u(0.1, 0.3)),
    )  # fmt: skip


def random_dance(seed: int, frames: int, fps: float = 25.0) -> list[Posture]:
    """A dance in place: smooth curves about the beat of a random tempo."""
    rng = np.random.default_rng([seed, 0xDA])
    u = rng.uniform
    time = np.arange(frames) / fps
    beat = 2 * np.pi * (u(0.5, 0.8) * time + u())
    lively = u(0.7, 1.2)

    def drift(seconds: float) -> np.ndarray:
        """A smooth curve that changes in about `seconds`, mostly within -1..1."""
        waves = [np.sin(2 * np.pi * (time * u(0.6, 1.4) / (2 * seconds) + u())) for _ in range(3)]
        return np.sum(waves, axis=0) / 1.8

    swing = np.sin(beat + u(-0.5, 0.5))
    shift = lively * (0.06 * np.sin(beat) + 0.04 * drift(1.5))
    crouch = 0.015 + lively * (0.02 - 0.02 * np.cos(2 * beat))
    arms = [np.clip(1.3 + 1.0 * drift(0.9) + side * 0.5 * lively * swing, 0.15, 2.7) for side in (-1, 1)]
    elbows = [np.clip(0.7 + 0.8 * drift(0.7), 0.0, 1.8) for _ in range(2)]
    # The foot that bears no weight steps.
    lifts = [0.07 * lively * np.clip(side * np.sin(beat) - 0.3, 0, 1) for side in (1, -1)]
    lean, nod = 0.12 * lively * swing + 0.08 * drift(1.2), 0.15 * drift(0.8)
    return [
        Posture(
            float(shift[i]), float(crouch[i]), float(lean[i]), float(nod[i]),
            *((float(left[i]), float(right[i])) for left, right in (arms, elbows, lifts)),
        )
        for i in range(frames)
    ]  # fmt: skip


def draw_figure(figure: Figure, posture: Posture, size: int) -> np.ndarray:
    """The picture (size, size, 3) uint8 RGB."""
    brush = _Brush(size)
    brush.backdrop(figure)
    hip = np.array([posture.shift, -(2 * figure.leg - posture.crouch) - figure.limb / 2])
    up = _direction(posture.lean)
    across = np.array([-up[1], up[0]])
    neck = hip + figure.torso * up
    head = neck + (figure.head + 0.03) * _direction(posture.lean + posture.nod)

    for index, side in enumerate((-1, 1)):
        top = hip + side * figure.hips * across
        foot = np.array([side * (figure.hips + 0.06), -figure.limb / 2 - posture.lifts[index]])
        knee = knee_between(top, foot, figure.leg, side)
        brush.limb([top, knee, foot], figure.limb * 1.1, figure.trousers)
        brush.limb([foot, foot + (side * 0.045, 0)], figure.limb, figure.shoes)
    brush.limb([neck - 0.02 * up, head], figure.limb, figure.skin)
    shoulders = [neck + side * figure.shoulders * across for side in (-1, 1)]
    brush.body([*shoulders, hip + figure.hips * across, hip - figure.hips * across], figure)
    for index, side in enumerate((-1, 1)):
        angle = posture.shoulders[index]
        elbow = shoulders[index] + figure.arm * _outwards(angle, side, posture.lean)
        hand = elbow + figure.arm * _outwards(angle + posture.elbows[index], side, posture.lean)
        brush.limb([elbow, hand], figure.limb * 0.85, figure.skin)
        brush.limb([shoulders[index], elbow], figure.limb, figure.top)
    brush.face(head, _direction(posture.lean + posture.nod), figure)
    return brush.picture()


def write_figures(
    output: str | Path, *, identities: int, frames: int = 60, size: int = 128, fps: int = 25, seed: int = 0
) -> Path:
    """Draw a plain folder of videos, each of another dancer; nothing else lies in it.

    Args:
        output: folder to make; must not exist yet or be empty.
        identities: how many dancers.
        frames: of each video.
        size: of the square videos in pixels, even.
        fps: frames per second.
        seed: other seeds give other dancers and dances.

    Raises:
        InputError: a value out of range, or a folder in use.
    """
    output = Path(output)
    require_at_least(identities=(identities, 1), frames=(frames, 1), fps=(fps, 1), seed=(seed, 0))
    if size < 16 or size % 2:
        raise InputError(f"--size {size}: must be even and at least 16")
    require_new(output)
    with atomic_output(output) as part:
        part.mkdir()
        for person in tqdm(range(identities), desc="drawing", unit="clip"):
            own = seed * 100_003 + person  # seeds share no one
            figure, motion = random_figure(own), random_dance(own, frames, fps)
            with VideoWriter(part / f"figure{person:04d}.mp4", fps=Fraction(fps)) as writer:
                for posture in motion:
                    writer.write(draw_figure(figure, posture, size))
    return output


# ---------------------------------------------------------------------------------------------------------------------
# Geometry and paint


def _direction(angle: float) -> np.ndarray:
    """Up, turned clockwise."""
    return np.array([np.sin(angle), -np.cos(angle)])


def _outwards(angle: float, side: int, lean: float) -> np.ndarray:
    """Down, raised by `angle` to that side, with the torso."""
    return _direction(np.pi - side * angle + lean)


def knee_between(hip: np.ndarray, foot: np.ndarray, length: float, side: int) -> np.ndarray:
    """Where thigh and shank of this length meet, to that side of the line from hip to foot."""
    half = (foot - hip) / 2
    distance = float(np.linalg.norm(half))
    out = np.sqrt(max(length**2 - distance**2, 0.0)) / distance
    return hip + half + side * out * np.array([half[1], -half[0]])


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * c, 1) for c in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (float(np.clip(c * factor, 0, 255)) for c in colour)
    return red, green, blue


class _Brush:
    """Paints shapes given in units."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.image = np.zeros((size * FINE, size * FINE, 3), np.uint8)
        self.scale = size * FINE / VIEW

    def _points(self, points: ArrayLike) -> np.ndarray:
        """In 1/16 pixels, as cv2 takes them with shift=4."""
        pixels = (np.asarray(points) - MIDDLE) * self.scale + (self.size * FINE - 1) / 2
        return np.rint(pixels * 16).astype(np.int32)

    def _line(self, points: ArrayLike, thickness: float, colour: Colour) -> None:
        width = max(round(thickness * self.scale), 1)
        cv2.polylines(self.image, [self._points(points)], False, colour, width, cv2.LINE_AA, shift=4)

    def _disc(self, centre: ArrayLike, radius: float, colour: Colour) -> None:
        x, y = self._points(centre).tolist()
        cv2.circle(self.image, (x, y), round(radius * self.scale * 16), colour, -1, cv2.LINE_AA, shift=4)

    def backdrop(self, figure: Figure) -> None:
        """Wall with a spot of light, floor, shadow."""
        height = len(self.image)
        horizon = round((-0.06 - MIDDLE[1]) * self.scale + height / 2)
        light = np.linspace(1.06, 0.9, height)[:, None, None]
        self.image[:] = np.clip(light * np.array(figure.wall), 0, 255)
        self._disc(figure.lamp[:2], figure.lamp[2], _shade(figure.wall, 1.12))
        self.image[horizon:] = np.clip(light[horizon:] * np.array(figure.floor), 0, 255)
        x, y = self._points((0.0, 0.0)).tolist()
        axes = tuple(round(r * self.scale * 16) for r in (0.24, 0.035))
        cv2.ellipse(self.image, (x, y), axes, 0, 0, 360, _shade(figure.floor, 0.7), -1, cv2.LINE_AA, shift=4)

    def limb(self, points: ArrayLike, thickness: float, colour: Colour) -> None:
        """A rounded stroke with a darker rim and a gleam."""
        self._line(points, thickness, _shade(colour, 0.62))
        self._line(points, thickness * 0.78, colour)
        self._line(np.asarray(points) - 0.15 * thickness, thickness * 0.22, _shade(colour, 1.25))

    def body(self, corners: Sequence[np.ndarray], figure: Figure) -> None:
        """The torso: left and right shoulder, right and left hip, all rounded."""
        for growth, factor in ((1.0, 0.62), (0.78, 1.0)):
            cv2.fillPoly(self.image, [self._points(corners)], _shade(figure.top, factor), cv2.LINE_AA, shift=4)
            self._line([*corners, corners[0]], figure.limb * growth, _shade(figure.top, factor))
        self._line(corners[2:], figure.limb * 0.4, _shade(figure.trousers, 0.8))  # a belt

    def face(self, centre: np.ndarray, up: np.ndarray, figure: Figure) -> None:
        right, r = np.array([-up[1], up[0]]), figure.head
        self._disc(centre, r, _shade(figure.hair, 0.6))
        self._disc(centre, r * 0.93, figure.hair)
        self._disc(centre - 0.16 * r * up, r * 0.8, figure.skin)
        for side in (-1, 1):
            self._disc(centre + 0.32 * side * r * right - 0.05 * r * up, r * 0.11, (40, 30, 30))
        mouth = [centre + (0.3 * x * r * right - (0.5 + 0.1 * (1 - x * x)) * r * up) for x in np.linspace(-1, 1, 7)]
        self._line(mouth, r * 0.1, (150, 50, 50))

    def picture(self) -> np.ndarray:
        return cv2.resize(self.image, (self.size, self.size), interpolation=cv2.INTER_AREA)
