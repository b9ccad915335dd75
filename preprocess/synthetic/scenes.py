"""Scenes: two drawn people in one video, at changing places and tilts, with exact boxes and identities per frame.

What `preprocess` finds in videos can be measured on them: who is in a track (purity), and where (IoU of boxes). Each
kind of scene holds one difficulty:

    apart      both wander about in their halves of the frame
    crossing   they change sides, one passes in front of the other
    cut        a cut to other places before another background, then a jump cut: same background, places swapped
    leaving    one goes out at the side and comes back in on the other one; then someone else comes instead

SceneTruth is kept in the framing of `preprocess.faces`: a face's true box is `faces.framing_box` of the puppet's exact
landmarks (73 points, hairline to chin, ear to ear), each turned and moved into the scene as its picture was. That is
how a detector's landmarks become a box, too; only the detector's 468 points are not the drawing's 73, and end a little
below the hairline. Points are (x, y) in pixels, integers at pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fomm.errors import InputError, require_at_least
from fomm.files import atomic_output, require_new
from fomm.video import VideoWriter
from preprocess.crop import crop_matrix, transform
from preprocess.faces import framing_box
from preprocess.synthetic.drawing import draw_all
from preprocess.synthetic.puppet_model import Camera, Identity, Pose, random_identity, random_motion
from preprocess.synthetic.puppet_painter import draw
from preprocess.synthetic.puppet_textures import background

KINDS = ("apart", "crossing", "cut", "leaving")

_VIEW = 5.2  # scene units across a cut-out: the shoulders fit
_HEAD_HEIGHT = 1.75  # scene units from hairline to chin, framed


class SceneTruth(NamedTuple):
    """What is exactly known of a scene of T frames in which P people occur (not all of them all the time).

    `seen` is the share (0..1) of each face that is inside the frame and not covered by someone else; 0 where the
    person is not there at all, and then the box is NaN.
    """

    identities: tuple[str, ...]  # (P,)
    boxes_xyxy_px: np.ndarray  # (T, P, 4)
    seen: np.ndarray  # (T, P)
    kind: str


def write_scenes(
    output: str | Path,
    *,
    scenes: int = 4,
    frames: int = 150,
    width: int = 960,
    height: int = 540,
    fps: int = 25,
    seed: int = 0,
    workers: int = 1,
) -> Path:
    """Draw scenes of two people as `videos/NAME.mp4`, and what is true of them as `truth/NAME.npz`.

    The kinds take turns: apart, crossing, cut, leaving. No one occurs in two scenes. Equal arguments give equal truth.

    Args:
        output: folder to make; must not exist yet or be empty.
        scenes: how many videos.
        frames: of each.
        width: of the frame in pixels.
        height: of the frame in pixels; faces are 0.2 to 0.3 of it.
        fps: frames per second.
        seed: of people, motions and places.
        workers: processes that draw.

    Returns:
        the folder of videos, `output/videos`.

    Raises:
        InputError: a count below its minimum, a folder in use, a disk that is full.
    """
    output = Path(output)
    require_at_least(
        scenes=(scenes, 1),
        frames=(frames, 30),
        width=(width, 320),
        height=(height, 240),
        fps=(fps, 1),
        seed=(seed, 0),
        workers=(workers, 1),
    )
    require_new(output)
    with atomic_output(output) as part:
        draw_one = partial(_write_scene, part, frames=frames, size_wh=(width, height), fps=fps, seed=seed)
        draw_all(draw_one, range(scenes), workers=workers, unit="scene")
    return output / "videos"


def load_scene_truth(video: str | Path) -> SceneTruth:
    """What is true of a scene that `write_scenes` wrote.

    Raises:
        InputError: there is no truth for this video.
    """
    video = Path(video)
    path = video.parent.parent / "truth" / f"{video.stem}.npz"
    if not path.is_file():
        raise InputError(f"{path}: no ground truth for {video}; only videos of `python -m preprocess scenes` have it")
    with np.load(path) as arrays:
        names = tuple(str(name) for name in arrays["identities"])
        return SceneTruth(names, arrays["boxes_xyxy_px"], arrays["seen"], str(arrays["kind"]))


# ---------------------------------------------------------------------------------------------------------------------
# Who is where


@dataclass(frozen=True)
class _Actor:
    """A person's part of a shot of n frames."""

    person: int  # number among the scene's people
    places: np.ndarray  # (n, 4): x and y of the head in frame widths and heights, its height in those, tilt in radians


@dataclass(frozen=True)
class _Shot:
    """Frames up to a cut; the actors are listed from back to front."""

    actors: tuple[_Actor, ...]
    backdrop: int  # seed of its identity


def _walk(
    rng: np.random.Generator, frames: int, stops: Sequence[tuple[float, float]], head: float | None = None
) -> np.ndarray:
    """Places (frames, 4) along x positions given as (time 0..1, x): smooth, with a sway and a tilt that changes."""
    time = np.linspace(0, 1, frames)
    knots, xs = np.array(stops, float).T
    x = np.empty(frames)
    for t0, t1, x0, x1 in zip(knots[:-1], knots[1:], xs[:-1], xs[1:], strict=True):
        inside = (time >= t0) & (time <= t1)
        u = (time[inside] - t0) / max(t1 - t0, 1e-9)
        x[inside] = x0 + (x1 - x0) * u * u * (3 - 2 * u)
    phases = rng.uniform(0, 2 * np.pi, 3)
    sway = lambda k, turns: np.sin(2 * np.pi * turns * time + phases[k])  # noqa: E731
    y = rng.uniform(0.36, 0.46) + 0.05 * sway(0, rng.uniform(0.6, 1.2))
    size = (head or rng.uniform(0.2, 0.3)) * (1 + 0.08 * sway(1, rng.uniform(0.5, 1)))
    tilt = np.deg2rad(rng.uniform(8, 22)) * sway(2, rng.uniform(0.5, 1))
    return np.column_stack([x, y, size, tilt])


def direct(kind: str, frames: int, rng: np.random.Generator) -> list[_Shot]:
    """The shots of a scene. x may leave 0..1: the person is out of sight there."""
    u = rng.uniform
    backdrops = rng.integers(1 << 20, size=2)

    def pair(length: int, *walks: Sequence[tuple[float, float]], head: float | None = None) -> tuple[_Actor, ...]:
        return tuple(_Actor(k, _walk(rng, length, walk, head)) for k, walk in enumerate(walks))

    if kind == "apart":
        halves = [[(t, u(*half)) for t in (0, 0.35, 0.7, 1)] for half in ((0.15, 0.36), (0.64, 0.85))]
        return [_Shot(pair(frames, *halves), int(backdrops[0]))]
    if kind == "crossing":
        left, right, middle = u(0.15, 0.3), u(0.7, 0.85), u(0.4, 0.6)
        walks = [[(0, a), (middle - 0.25, a), (middle + 0.25, b), (1, b)] for a, b in ((left, right), (right, left))]
        return [_Shot(pair(frames, *walks, head=u(0.2, 0.28)), int(backdrops[0]))]  # of one size: the hard case
    if kind == "cut":
        first, second = int(frames * u(0.28, 0.38)), int(frames * u(0.62, 0.72))
        lengths = first, second - first, frames - second
        sides = [u(0.18, 0.32), u(0.68, 0.82)]
        shots = []
        for number, length in enumerate(lengths):  # the second cut only swaps the two
            a, b = sides if number < 2 else sides[::-1]
            actors = pair(length, [(0, a), (1, a + u(-0.06, 0.06))], [(0, b), (1, b + u(-0.06, 0.06))])
            shots.append(_Shot(actors, int(backdrops[min(number, 1)])))
        return shots
    out = 0.25
    stays = [(0, u(0.4, 0.5)), (1, u(0.5, 0.6))]
    goes = [(0, 0.2), (0.15, 0.2), (0.27, -out), (0.3, -out)]
    leaves = [*goes, (0.301, 1 + out), (0.33, 1 + out), (0.45, 0.82), (0.5, 0.82), (0.6, 1 + out), (1, 1 + out)]
    comes = [(0, 1 + out), (0.64, 1 + out), (0.76, 0.82), (1, 0.8)]
    return [_Shot(pair(frames, stays, leaves, comes), int(backdrops[0]))]


# ---------------------------------------------------------------------------------------------------------------------
# Drawing


class _Figure(NamedTuple):
    """A person as laid into a frame."""

    cover: np.ndarray  # (H, W) 0..1
    landmarks_px: np.ndarray  # (73, 2) in the frame


def lay(picture: np.ndarray, identity: Identity, pose: Pose, place: np.ndarray) -> _Figure | None:
    """Draw a person into `picture` (H, W, 3) float32, in place; None where all of it lies outside."""
    height, width = picture.shape[:2]
    x, y, size, tilt = place
    unit = size * height / _HEAD_HEIGHT  # pixels per scene unit
    side = max(32, round(_VIEW * unit))
    camera = Camera(0.0, 0.75, _VIEW)
    head = camera.to_pixels(np.zeros(2), side, side)
    # rotation about the head's middle, which comes to the wanted place
    turn = crop_matrix(np.zeros(2), 1.0, -np.degrees(tilt), 1)[:, :2]
    matrix = np.column_stack([turn, np.array([x * width, y * height]) - turn @ head])
    corners = transform(matrix, np.array([[0, 0], [side, 0], [side, side], [0, side]], float))
    if (corners.max(0) < 0).any() or (corners.min(0) > (width, height)).any():
        return None
    black, white = (draw(identity, pose, side, camera, grey=grey) for grey in (0.0, 255.0))
    cover = 1 - (white.image.astype(np.float32) - black.image).mean(2) / 255
    fade = np.clip((side - 1 - np.arange(side, dtype=np.float32)) / (0.12 * side), 0, 1)  # below, the body is cut off
    cut_out = np.dstack([black.image.astype(np.float32), 255 * np.clip(cover, 0, 1)]) * fade[:, None, None]
    laid = cv2.warpAffine(cut_out, matrix, (width, height), flags=cv2.INTER_LINEAR)
    cover = laid[..., 3] / 255
    picture *= 1 - cover[..., None]
    picture += laid[..., :3]
    return _Figure(cover, transform(matrix, black.landmarks_px))


def _share_seen(figure: _Figure, covers_before: Sequence[np.ndarray]) -> float:
    """Share of the face (hull of its landmarks) that is in the frame and not behind others."""
    height, width = figure.cover.shape
    hull = cv2.convexHull(figure.landmarks_px.astype(np.float32))
    whole = cv2.contourArea(hull)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.rint(hull).astype(np.int32)], 1.0)
    for cover in covers_before:
        mask *= 1 - cover
    return float(min(mask.sum() / whole, 1.0))


def _filmed(shots: Sequence[_Shot], people: Sequence[int], fps: int, size_wh: tuple[int, int], seed: int) -> Iterator:
    """Each frame with its boxes (P, 4) and seen shares (P,)."""
    width, height = size_wh
    identities = [random_identity(person) for person in people]
    for number, shot in enumerate(shots):
        camera = Camera(0.0, 0.0, 6.0)
        behind = background(random_identity(shot.backdrop), width, height, camera)
        length = len(shot.actors[0].places)
        motions = [random_motion(seed + 31 * number + 7 * actor.person, length, fps) for actor in shot.actors]
        for index in range(length):
            picture = behind.copy()
            boxes, seen = np.full((len(people), 4), np.nan), np.zeros(len(people))
            figures = [
                lay(picture, identities[actor.person], motion[index], actor.places[index])
                for actor, motion in zip(shot.actors, motions, strict=True)
            ]
            for order, (actor, figure) in enumerate(zip(shot.actors, figures, strict=True)):
                if figure is None:
                    continue
                in_front = [other.cover for other in figures[order + 1 :] if other is not None]
                seen[actor.person] = _share_seen(figure, in_front)
                if seen[actor.person] > 0:
                    boxes[actor.person] = framing_box(figure.landmarks_px)
            yield np.clip(picture + 0.5, 0, 255).astype(np.uint8), boxes, seen


def _write_scene(root: Path, number: int, *, frames: int, size_wh: tuple[int, int], fps: int, seed: int) -> None:
    cv2.setNumThreads(1)  # processes share the cores already
    kind = KINDS[number % len(KINDS)]
    name = f"{kind}{number:03d}"
    rng = np.random.default_rng([seed, number, 0x5C])
    shots = direct(kind, frames, rng)
    count = 1 + max(actor.person for shot in shots for actor in shot.actors)
    people = [500_000 + 1000 * seed + 3 * number + k for k in range(count)]
    boxes, seen = [], []
    with VideoWriter(root / "videos" / f"{name}.mp4", fps=Fraction(fps), threads=1) as writer:
        for picture, box, share in _filmed(shots, people, fps, size_wh, int(rng.integers(1 << 20))):
            writer.write(picture)
            boxes.append(box)
            seen.append(share)
    path = root / "truth" / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(
        path,
        identities=np.array([f"puppet{person}" for person in people]),
        boxes_xyxy_px=np.array(boxes),
        seen=np.array(seen),
        kind=np.array(kind),
    )
