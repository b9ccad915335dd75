"""Eyes that are drawn larger than a person's: the mesh, which knows people, keeps its lids inside their white.

Where the white goes on beyond the lids, these are moved to its edge: lids that do not enclose all of it cannot shut it.
"""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.canvas import polygon
from fomm.model.face.mesh import EYES, Eye

BRIGHTER, COLOURLESS = 10.0, 0.15  # the white than the skin around it, in levels; how much of it is colour
ROUND = 0.85  # share of the white in the hull around it
REACH = 0.35  # how far beyond the lids the white may go on, in widths of the eye
SHARE = 0.15  # of the opening; less beyond it does not count
IRIS = 1.25  # what lies so many of its radii from its centre is no iris
EDGE = 0.06  # where white and skin run together, in widths of the eye
LIDS = 1.06  # how much further from the eye's middle than its edge lids are put: the lines between them cut it off
ROOM = 1.12  # how much further from the eye's middle than its edge the skin around it begins


def with_drawn_eyes(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) of a face in a photo (H, W, 3) uint8 with the lids around all of the white; the same array
    where they are already."""
    found = landmarks
    for eye in EYES:
        white = _white(photo, landmarks, eye)
        if white is not None:
            found = found.copy() if found is landmarks else found
            _open_to(found, eye, *white)
    return found


def _white(photo: np.ndarray, landmarks: np.ndarray, eye: Eye) -> tuple[np.ndarray, np.ndarray] | None:
    """(h, w) bool, all of an eye's ball in a part of the photo, and where that begins; None: lids enclose it."""
    points = landmarks[:, :2]
    width = float(np.linalg.norm(points[eye.outer] - points[eye.inner]))
    low = np.floor(points[eye.opening].min(0) - 1.5 * REACH * width).astype(int)
    high = np.ceil(points[eye.opening].max(0) + 1.5 * REACH * width).astype(int) + 1
    if (low < 0).any() or (high > photo.shape[1::-1]).any() or width < 8:
        return None
    texture = photo[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    size = texture.shape[1], texture.shape[0]
    opening = polygon(points[eye.opening] - low, size) > 127
    iris = points[eye.iris] - low
    y, x = np.mgrid[: size[1], : size[0]]
    radius = IRIS * np.linalg.norm(iris[1:] - iris[0], axis=1).mean()
    ball = opening & (np.hypot(x - iris[0, 0], y - iris[0, 1]) > radius)
    around = _around(opening, REACH * width)
    skin = around & ~_around(opening, 0.8 * REACH * width)
    if ball.sum() < 8 or skin.sum() < 8:
        return None
    colours = [np.median(texture[part], axis=0) for part in (ball, skin)]
    from_white, from_skin = (np.linalg.norm(texture - colour, axis=2) for colour in colours)
    if colours[0].min() < colours[1].max() + BRIGHTER or np.ptp(colours[0]) > COLOURLESS * colours[0].max():
        return None
    whole = (((from_white < 0.6 * from_skin) & around) | opening).astype(np.uint8)
    _, parts = cv2.connectedComponents(whole)
    whole = parts == np.bincount(parts[opening]).argmax()
    bounded = not (whole & ~_around(opening, 0.9 * REACH * width)).any()
    larger = (whole & ~opening).sum() >= SHARE * opening.sum()
    if not (bounded and larger and _round(whole)):
        return None
    return _around(whole, max(1.0, EDGE * width)), low


def _round(mask: np.ndarray) -> bool:
    """Whether a shape (h, w) bool has no bays."""
    hull = cv2.convexHull(np.argwhere(mask)[:, ::-1])[:, 0]
    whole = polygon(hull, (mask.shape[1], mask.shape[0])) > 127
    return bool(mask.sum() > ROUND * whole.sum())


def _around(mask: np.ndarray, reach_px: float) -> np.ndarray:
    side = 2 * max(1, round(reach_px)) + 1
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0


def _open_to(landmarks: np.ndarray, eye: Eye, white: np.ndarray, low: np.ndarray) -> None:
    """Move the lids to the edge of the white, and the skin around them out of it."""
    edges, _ = cv2.findContours(white.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = cv2.convexHull(max(edges, key=cv2.contourArea))[:, 0] + low
    moments = cv2.moments(edge.astype(np.float32))
    middle = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    away = edge - middle
    angles = np.arctan2(away[:, 1], away[:, 0])
    order = np.argsort(angles)
    reach = np.linalg.norm(away, axis=1)[order]

    def move(points: np.ndarray, room: float, *, outwards: bool = True) -> None:
        out = landmarks[points, :2] - middle
        far = np.linalg.norm(out, axis=1)
        least = room * np.interp(np.arctan2(out[:, 1], out[:, 0]), angles[order], reach, period=2 * np.pi)
        wanted = np.maximum(far, least) if outwards else least
        landmarks[points, :2] = middle + out * (wanted / np.maximum(far, 1e-6))[:, None]

    move(eye.opening, LIDS, outwards=False)
    for row, room in ((eye.crease, ROOM), (eye.bag, ROOM), (eye.fold, ROOM**2)):
        move(row, room)
