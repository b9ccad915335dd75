"""Pictures of what a model does: for looking at while it trains."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from fomm.model import FOMM
from fomm.model.face import Face, FaceModel, Sitter, move
from fomm.model.generator import resize
from fomm.pixels import to_pictures

COLUMNS = ("source", "driving", "deformed", "occlusion", "prediction", "masks")
PATCH_COLUMNS = ("warped", "painted", "warp kept", "prediction", "truth")


@torch.no_grad()
def snapshot(model: FOMM, source: Tensor, driving: Tensor) -> np.ndarray:
    """A grid with a row per pair, columns as in `COLUMNS`, titled; keypoints are drawn on source and driving.

    Args:
        source, driving: (B, 3, H, W) in [0, 1].

    Returns: (title's height + B * H, 6 * W, 3) uint8 RGB. In `occlusion` white is visible; in `masks` each colour is
    the keypoint of that colour and black the background.
    """
    output = model(source, driving)
    size = source.shape[-2:]
    hues = np.arange(model.config.num_keypoints) / model.config.num_keypoints
    colours = np.array([[round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.9, 1)] for hue in hues], np.uint8)
    deformed = model.deformed(source, output.motion)
    occlusion = output.motion.occlusion
    occlusion = torch.ones_like(source) if occlusion is None else resize(occlusion, size).expand_as(source)
    palette = torch.from_numpy(np.vstack([np.zeros((1, 3)), colours])).to(output.motion.mask)
    masks = torch.einsum("bkhw,kc->bchw", output.motion.mask, palette / 255)
    shown = (source, driving, deformed, occlusion, output.prediction, resize(masks, size))
    columns = [to_pictures(pictures) for pictures in shown]
    for pictures, keypoints in zip(columns, (output.source_keypoints, output.driving_keypoints), strict=False):
        for picture, points in zip(pictures, keypoints.points, strict=True):
            draw_keypoints(picture, points, colours)
    return titled(columns, COLUMNS)


@torch.no_grad()
def animation(model: FOMM, source: Tensor, driving: Tensor) -> list[np.ndarray]:
    """Frames (H, 3 * W, 3) uint8 RGB: source (3, H, W) in [0, 1], driving (T, 3, H, W), and the source in the pose of
    the driving frame."""
    encoded = model.encode_source(source[None])
    predictions = (model.animate(encoded, model.detect(frame[None])).prediction[0] for frame in driving)
    return [
        np.hstack([*to_pictures(torch.stack([source, frame, prediction]))])
        for frame, prediction in zip(driving, predictions, strict=True)
    ]


@torch.no_grad()
def patch_snapshot(model: FaceModel, patch: Tensor, conditions: Tensor, target: Tensor) -> np.ndarray:
    """A grid with a row per patch: as the warp makes it, the generator's colours, where the warp is kept (white), the
    finished patch, what it should be.

    Args:
        patch, target: (B, 3, H, W) in [0, 1].
        conditions: (B, 5, H, W).

    Returns: (title's height + B * H, 5 * W, 3) uint8 RGB; its titles are `PATCH_COLUMNS`.
    """
    made = model.generator(patch, conditions)
    columns = patch, made.painted, made.occlusion_map.expand_as(patch), made.prediction, target
    return titled([to_pictures(pictures) for pictures in columns], PATCH_COLUMNS)


def head_animation(model: FaceModel, frames: np.ndarray, mesh: np.ndarray) -> list[np.ndarray]:
    """Frames (S, 3 * S, 3) uint8 RGB: a head's first frame, each other one, the first moved by it; of frames
    (K, S, S, 3) uint8 and their landmarks (K, 478, 3)."""
    portrait = model.portrait(Sitter(frames[0], mesh[0]))
    faces = [Face(points.astype(np.float64)) for points in mesh]
    return [
        np.hstack([frames[0], frame, portrait(move(faces[0], face, faces[0]))])
        for frame, face in zip(frames, faces, strict=True)
    ]


def titled(columns: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Columns (B, H, W, 3) uint8 side by side, under a line with their titles, which fill a column at most."""
    grid = np.hstack([np.concatenate(column) for column in columns])
    font, wide = cv2.FONT_HERSHEY_SIMPLEX, columns[0].shape[2]
    widest = max(cv2.getTextSize(title, font, 1.0, 1)[0][0] for title in titles)
    scale = min(0.5, 0.92 * wide / widest)
    line = np.full((max(8, round(36 * scale)), grid.shape[1], 3), 255, np.uint8)
    for index, title in enumerate(titles):
        left = index * wide + (wide - cv2.getTextSize(title, font, scale, 1)[0][0]) // 2
        cv2.putText(line, title, (left, round(0.7 * len(line))), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([line, grid])


def draw_keypoints(picture: np.ndarray, points: Tensor, colours: np.ndarray) -> None:
    """Draw (K, 2) points, in [-1, 1] with +-1 on the border pixels' centres, into (H, W, 3) uint8."""
    height, width = picture.shape[:2]
    radius = max(1, height // 50)
    for (x, y), colour in zip(points.float().tolist(), colours.tolist(), strict=True):
        centre = round((x + 1) / 2 * (width - 1)), round((y + 1) / 2 * (height - 1))
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
