"""What a person hides in a photo: the background goes on behind them.

It is completed in a small picture, coarse to fine, until each patch of it looks like one that the photo shows (Wexler,
Shechtman, Irani, "Space-time completion of video", TPAMI 2007), and neighbouring patches come from the same place
(He, Sun, "Statistics of patch offsets for image completion", ECCV 2012). What is finer is then copied from there. Where
no patch goes with what is next to the person, the edges there go on as they come.

Light and shade over large distances are left out of all this and go on smoothly.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 72  # of a square with as many pixels as the small picture
PATCH = 5  # of them, a patch
LEVELS, ROUNDS = 3, 3  # each level half as large as the next; rounds of matching on each
LIGHT = 0.3  # what varies over more than this part of the longer side is light
NEAR = 180.0, 60.0  # grey levels that a patch may differ more if it lies nearer by the longer side, down and across:
# horizons and rooms are level
OFFSETS, AGREE = 20, 9  # places that patches come from, and over how many pixels they agree on one
LEAST_APART = PATCH  # patches nearer to their place show the same
DULL = 4.0  # times the usual difference, and those who differ more are all alike
NOISE_LEVELS = 2.0  # difference of a pixel that says nothing
SEAM_LEVELS = 12.0  # by how much what is made may be off to be made lighter or darker all over
INWARDS = 2.0  # how much more a patch counts than one that lies a pixel further in
LEVEL = 3  # how much nearer what is beside a place counts than what is above it
FEWEST = 40  # patches that the photo has to show
FADES = 0.36  # depth behind the person, in face heights, at which fine detail fades
SEAM_PX = 2  # width of the seam between what the photo shows and what is made
EDGES_SIDE, EDGES_FROM_PX = 250, 3  # side likewise of the picture in which edges go on, and how much of it they follow
EDGES_FADE = 0.35  # depth behind the person, in face heights, at which they are no longer carried on
PATCHES_FAIL = 3.0  # grey levels by which patches differ from the photo at the seam, and edges are carried on instead
GRAIN = 3.0  # times the usual fine detail, and it is an edge
SURE = 0.99  # of a pixel of a smaller picture that counts as known
STEP_FADES = 0.4  # how far behind the person a step at the seam is evened out, in face heights


def fill(photo: np.ndarray, hidden: np.ndarray, face_px: float) -> np.ndarray:
    """The background (H, W, 3) uint8 of a photo (H, W, 3) uint8; where `hidden` (H, W) in [0, 1] is 0 it is the photo.

    Args:
        face_px: height of the face.
    """
    known = np.clip(1.1 - 4 * hidden, 0, 1).astype(np.float32)
    smooth = _level(photo.astype(np.float32), known)
    if known.min() < 1:
        depth = cv2.distanceTransform((known < 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        smooth = _seamless(_continued(smooth, known, depth, face_px), photo, depth, face_px)
    weight = known[..., None]
    return np.clip(np.round(weight * photo + (1 - weight) * smooth), 0, 255).astype(np.uint8)


def _seamless(made: np.ndarray, photo: np.ndarray, depth: np.ndarray, face_px: float) -> np.ndarray:
    """What is made (H, W, 3) float32 at a `depth` (H, W) in pixels behind the person, without the step to the photo.

    The difference along the seam goes on inwards, and fades: a membrane as of Pérez, Gangnet, Blake, "Poisson image
    editing", SIGGRAPH 2003. Else the person's outline would be seen where the person was.
    """
    return made + np.exp(-depth / (STEP_FADES * face_px))[..., None] * _step(made, photo, depth)


def _step(made: np.ndarray, photo: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """By how much (H, W, 3) what is made differs from the photo along the seam, and from there on smoothly; 0 away from
    the person."""
    left, top, across, down = cv2.boundingRect((depth > 0).astype(np.uint8))
    around = tuple(slice(max(0, at - SEAM_PX), at + much + SEAM_PX) for at, much in ((top, down), (left, across)))
    step = np.zeros_like(made)
    made, photo, depth = made[around], photo[around], depth[around]
    hidden = depth > 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SEAM_PX + 1,) * 2)
    within, beside = hidden & (depth <= SEAM_PX), ~hidden & (cv2.dilate(hidden.astype(np.uint8), disc) > 0)
    step[around] = spread(photo - spread(made, within.astype(np.float32)), beside.astype(np.float32))
    return step


def _level(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """As `spread`, what is beside a place counting more than what is above: horizons and rooms are level."""
    height, width = known.shape
    less = max(1, round(width / LEVEL)), height
    colours, weight = (
        cv2.resize(one, less, interpolation=cv2.INTER_AREA) for one in (picture * known[..., None], known)
    )
    low = spread(colours / np.maximum(weight, 1e-3)[..., None], weight)
    low = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR)
    return low + spread(picture - low, known)


def spread(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) float32 that goes on smoothly where it is not `known` (H, W) float32 in [0, 1].

    Pull-push over a pyramid: Gortler et al., "The lumigraph", SIGGRAPH 1996.
    """
    levels = [(picture * known[..., None], known)]
    while min(levels[-1][1].shape) > 2:
        colours, weight = (cv2.pyrDown(level) for level in levels[-1])
        gain = np.minimum(1.0, 2.0 * weight) / np.maximum(weight, 1e-6)
        levels.append((colours * gain[..., None], weight * gain))
    colours, weight = levels[-1]
    filled = colours / np.maximum(weight, 1e-3)[..., None]
    for colours, weight in reversed(levels[:-1]):
        filled = cv2.pyrUp(filled, dstsize=weight.shape[::-1])
        filled = colours + (1 - weight[..., None]) * filled
    return filled


def _continued(smooth: np.ndarray, known: np.ndarray, depth: np.ndarray, face_px: float) -> np.ndarray:
    """A picture (H, W, 3) float32 that is smooth where it is not known, with structure and grain there; `depth` (H, W)
    is how far, in pixels, from what is."""
    height, width = known.shape
    factor = min(1.0, SIDE / np.sqrt(height * width))
    small = max(PATCH, round(factor * width)), max(PATCH, round(factor * height))
    picture = cv2.resize(smooth, small, interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(picture, (0, 0), LIGHT * max(small))
    completed = _completed(picture - light, cv2.resize(known, small, interpolation=cv2.INTER_AREA))
    if completed is None:
        return smooth
    made, away = completed
    coarse, was = (cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in (made + light, picture))
    left, top, across, down = cv2.boundingRect((depth > 0).astype(np.uint8))
    here = slice(top, top + down), slice(left, left + across)  # the rest is known
    fades, edges = (np.exp(-np.square(depth[here] / (far * face_px)))[..., None] for far in (FADES, EDGES_FADE))
    wrong = np.abs(_step(coarse, smooth, depth)[here]).max(2, keepdims=True)
    edges = edges * np.minimum(1, wrong / PATCHES_FAIL)
    detail = smooth - was
    found = _copied(detail, away, here)
    grain = GRAIN * float(np.median(np.abs(detail[known > SURE])))  # no edges, which its place has elsewhere
    found += edges * (np.clip(found, -grain, grain) - found)
    coarse[here] += edges * (_carried_on(smooth, known)[here] - coarse[here]) + fades * found
    return coarse


def _carried_on(smooth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) float32 into whose unknown part edges go on as they come to it, and blur further in.

    Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, fluid dynamics, and image and video inpainting", CVPR 2001.
    """
    height, width = known.shape
    factor = min(1.0, EDGES_SIDE / np.sqrt(height * width))
    small = max(1, round(factor * width)), max(1, round(factor * height))
    picture, less_known = (cv2.resize(one, small, interpolation=cv2.INTER_AREA) for one in (smooth, known))
    unknown = (less_known < SURE).astype(np.uint8)
    went_on = cv2.inpaint(np.clip(picture, 0, 255).astype(np.uint8), unknown, EDGES_FROM_PX, cv2.INPAINT_NS)
    large = cv2.resize(went_on.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(known[..., None] < 1, large, smooth)


def _completed(picture: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A small picture (h, w, 3) completed where it is not known (h, w), and (h, w, 2) how far each pixel is from where
    its patch comes from; None where the photo shows too little."""
    made = away = None
    for level in reversed(range(LEVELS)):
        size = tuple(max(PATCH, round(n / 2**level)) for n in picture.shape[1::-1])
        here = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        sure = cv2.resize(known, size, interpolation=cv2.INTER_AREA) > SURE
        shows = np.lib.stride_tricks.sliding_window_view(sure, (PATCH, PATCH)).all((2, 3))
        if shows.sum() < FEWEST or shows.all():
            continue
        if made is not None:
            here = np.where(sure[..., None], here, cv2.resize(made, size, interpolation=cv2.INTER_LINEAR))
        made = here
        for _ in range(ROUNDS * 2**level):
            made, away = _matched(made, sure, shows)
    return None if made is None or away is None else (made, away)


def _matched(picture: np.ndarray, sure: np.ndarray, shows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One round: what is not `sure` (h, w) of a picture is put together from patches that the photo `shows`, told by
    their first pixel, (h - PATCH + 1, w - PATCH + 1)."""
    depth = cv2.distanceTransform((~sure).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    trust = INWARDS**-depth  # what was made up counts less, the more so the further in
    features, counts = _features(picture, trust)
    targets, sources = np.argwhere(~shows), np.argwhere(shows)
    nearest, apart = _nearest(features[~shows], counts[~shows], features[shows])
    away = _agreed(features, counts, shows, sources[nearest] - targets, apart)
    sources = targets + away

    middle = PATCH // 2
    apart = _apart(features[tuple(targets.T)], counts[tuple(targets.T)], features[tuple(sources.T)])
    weight = np.exp(-apart / (2 * max(1.0, float(np.percentile(apart, 75)))))
    weight = (weight * trust[tuple((targets + middle).T)] + 1e-9)[:, None].astype(np.float32)
    total, colours = np.zeros((*sure.shape, 1), np.float32), np.zeros_like(picture)
    for step in np.ndindex(PATCH, PATCH):
        there = tuple((targets + step).T)
        colours[there] += weight * picture[tuple((sources + step).T)]
        total[there] += weight
    made = colours / np.maximum(total, 1e-12)
    both = (sure & (total[..., 0] > 0)).astype(np.float32)  # what is made there is off by as much as beside it
    made += spread(np.clip(picture - made, -SEAM_LEVELS, SEAM_LEVELS), both)
    offsets = np.zeros((*sure.shape, 2), np.float32)
    offsets[tuple((targets + middle).T)] = away[:, ::-1]
    offsets = cv2.copyMakeBorder(offsets[middle:-middle, middle:-middle], *(middle,) * 4, cv2.BORDER_REPLICATE)
    return np.where(sure[..., None], picture, made), offsets


def _features(picture: np.ndarray, trust: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h, w, F) colours and place of all patches of a picture, told by their first pixel, and how much each counts, 1
    on average."""

    def patches(pixels: np.ndarray) -> np.ndarray:
        seen = np.lib.stride_tricks.sliding_window_view(pixels, (PATCH, PATCH, 3))[:, :, 0]
        return seen.reshape(*seen.shape[:2], -1)

    colours = patches(picture)
    place = np.mgrid[: colours.shape[0], : colours.shape[1]].astype(np.float32).transpose(1, 2, 0)
    place *= np.array(NEAR, np.float32) * np.float32(PATCH / max(picture.shape[:2]))
    counts = patches(np.repeat(trust[..., None], 3, axis=2))
    counts = counts / counts.mean(2, keepdims=True)
    return (
        np.concatenate([colours, place], 2, dtype=np.float32),
        np.concatenate([counts, np.ones((*counts.shape[:2], 2))], 2, dtype=np.float32),
    )


def _apart(ones: np.ndarray, counts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) squared distance of patches (N, F), whose features count as much as `counts` (N, F) says."""
    return (counts * np.square(ones - others)).sum(1)


def _nearest(targets: np.ndarray, counts: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) number of the source (S, F) nearest to each target (T, F), and how far they are apart, see `_apart`."""
    number, apart = np.empty(len(targets), int), np.empty(len(targets), np.float32)
    half = 0.5 * np.square(sources)
    for start in range(0, len(targets), 1024):
        some, much = targets[start : start + 1024], counts[start : start + 1024]
        alike = (much * some) @ sources.T - much @ half.T
        number[start : start + 1024] = alike.argmax(1)
        apart[start : start + 1024] = (much * np.square(some)).sum(1) - 2 * alike.max(1)
    return number, apart


def _agreed(
    features: np.ndarray, counts: np.ndarray, shows: np.ndarray, away: np.ndarray, apart: np.ndarray
) -> np.ndarray:
    """(T, 2) where patches come from, of the places that most come from and each that its neighbours like too.

    Args:
        features: (h, w, F) of all patches; those that the photo does not show (h, w) are the targets.
        counts: (h, w, F) how much each counts.
        away: (T, 2) int, where each target comes from by itself.
        apart: (T,) how far the two are apart, see `_apart`.
    """
    targets = np.argwhere(~shows)
    dull = DULL * float(np.median(apart)) + NOISE_LEVELS**2 * features.shape[2]
    least, agreed = np.full(len(targets), np.inf, np.float32), away.copy()
    far = np.abs(away).max(1) >= LEAST_APART
    offsets = list(_frequent(away[far], OFFSETS))
    alone = far.copy()
    for number in range(2 * OFFSETS):
        if number >= len(offsets):  # then those that most come from that none of these is for
            if not alone.any():
                break
            offsets.extend(_frequent(away[alone], 1))
        sources = targets + offsets[number]
        inside = np.flatnonzero(((sources >= 0) & (sources < shows.shape)).all(1))
        inside = inside[shows[tuple(sources[inside].T)]]
        alone[inside] = False
        here = tuple(targets[inside].T)
        cost = np.full(shows.shape, dull, np.float32)
        cost[here] = np.minimum(_apart(features[here], counts[here], features[tuple(sources[inside].T)]), dull)
        mean = cv2.blur(cost, (AGREE, AGREE))[here]
        better = mean < least[inside]
        least[inside[better]], agreed[inside[better]] = mean[better], offsets[number]
    return agreed


def _frequent(offsets: np.ndarray, most: int) -> np.ndarray:
    """The most frequent of offsets (T, 2) int, at most so many, the most frequent first."""
    if not len(offsets):
        return offsets
    low = offsets.min(0)
    span = np.ptp(offsets[:, 1]) + 1
    much = np.bincount((offsets - low) @ [span, 1])
    there = np.argsort(-much, kind="stable")[: min(most, np.count_nonzero(much))]
    return np.stack([there // span, there % span], 1) + low


def _copied(detail: np.ndarray, away: np.ndarray, here: tuple[slice, slice]) -> np.ndarray:
    """Detail (H, W, 3) `here`, from where the pixels of a small picture come from, (h, w, 2) of it; across its pixels
    one place gives way to the next."""
    (height, width), (rows, columns) = detail.shape[:2], away.shape[:2]
    away = np.round(away * [width / columns, height / rows]).astype(np.float32)
    down, across = (np.arange(part.start, part.stop) for part in here)
    x, y = (
        ((at + 0.5) * m / n - 0.5).astype(np.float32) for at, n, m in ((across, width, columns), (down, height, rows))
    )
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    grid = np.dstack(np.meshgrid(across.astype(np.float32), down.astype(np.float32)))
    found = np.zeros_like(grid, shape=(*grid.shape[:2], 3))
    for lower, right in np.ndindex(2, 2):
        part = away[np.ix_((top + lower).clip(0, rows - 1), (left + right).clip(0, columns - 1))] + grid
        weight = np.outer(1 - np.abs(y - top - lower), 1 - np.abs(x - left - right))
        found += weight[..., None] * cv2.remap(detail, part, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return found
