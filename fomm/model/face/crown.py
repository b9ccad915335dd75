"""A head that the photo's edge cuts off goes on beyond it, with a round outline and mirrored hair; a neck, softly."""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.layers import Layers
from fomm.model.face.mesh import BROWS, CHEEKS, CHIN, FOREHEAD
from fomm.model.face.motion import Face
from fomm.model.face.surface import NECK_ROOM

CROWN = 0.42  # how far above the forehead's edge the head ends, in face heights
EAR = 0.3  # how far beyond the cheeks' edge it does to the sides, in half widths
NO_EAR = 0.4  # what is mirrored at a side is drawn out, or a second ear would be seen
OVER_BROWS = 0.08  # how far above the brows the photo is mirrored no more, in the head's frame
LEAST_ROOM = 2.0  # rows that are mirrored in any case
LEAST_CROWN = 0.18  # height up to which the outline may go on anyhow, in widths of the cut
STEEPEST = 4.0  # slope with which an outline goes on that meets the photo's edge at right angles
SLOPE_OVER = 0.2  # widths of the cut over which an outline's slope is found
NECK_SOFT = 0.13  # how much softer a neck gets with each row below the photo, in roots of the face's height


def crowned(layers: Layers, source: Face) -> tuple[np.ndarray, np.ndarray]:
    """(A + H + B, L + W + R, 4) uint8, the person's colours and matte, and (L, A), where the photo begins in it.

    A, L and R are the rows above and the columns beside the photo in which a head that it cuts off goes on, B those
    below it in which a neck does.
    """
    person = np.dstack([layers.person, np.round(255 * layers.matte).astype(np.uint8)])
    forehead, chin, *cheeks = source.landmarks[[FOREHEAD, CHIN, *CHEEKS], :2]
    middle, crown = (forehead + chin) / 2, forehead + CROWN * (forehead - chin)
    ends = np.array([crown, *(cheek + EAR * (cheek - middle) for cheek in cheeks)])  # of the head
    brows = float(source.landmarks[np.concatenate(BROWS), 1].min()) - OVER_BROWS * source.pose.scale
    above = _goes_on(person, forehead[0], -ends[:, 1].min(), brows) if crown[1] < forehead[1] else person[:0]
    person, start = np.concatenate([above, person]), np.array([0, len(above)])
    for far in (False, True):
        sideways = (person[:, ::-1] if far else person).transpose(1, 0, 2)
        beyond = ends[:, 0].max() - (person.shape[1] - 1) if far else -ends[:, 0].min()
        body = round(chin[1]) + start[1]
        room = float(len(sideways))
        side = _goes_on(sideways, middle[1] + start[1], beyond, room, NO_EAR, body).transpose(1, 0, 2)
        person = np.concatenate([person, side[:, ::-1]] if far else [side, person], axis=1)
        start[0] += 0 if far else side.shape[1]
    height = float(np.linalg.norm(forehead - chin))
    rows = round(NECK_ROOM * height - max(0.0, layers.matte.shape[0] - chin[1]))
    return np.concatenate([person, _below(person[-1], rows, NECK_SOFT * height**0.5)]), start


def _below(last: np.ndarray, rows: int, soft: float) -> np.ndarray:
    """(rows, W, 4), what is below a person's last row (W, 4): ever softer to the sides, or it would be stripes."""
    row, below = last[None, :, :3].astype(np.float32), np.repeat(last[None], max(0, rows), axis=0)
    for here in below:
        row = cv2.GaussianBlur(row, (0, 0), soft, borderType=cv2.BORDER_REPLICATE)
        here[:, :3] = np.round(row[0])
    return below


def _goes_on(
    person: np.ndarray, middle: float, beyond: float, room: float, shown: float = 1.0, body: int | None = None
) -> np.ndarray:
    """(A, W, 4), what is above a person's colours and matte (H, W, 4); none where the first row cuts off no head.

    Args:
        middle: column of the head's middle.
        beyond: how many rows above the first one the head ends, at most.
        room: rows of the picture that are mirrored, to and fro where more are needed.
        shown: rows of the picture that one of them mirrors.
        body: column from which on, at the latest, it is the body, which goes on as it is.
    """
    body = person.shape[1] if body is None else max(0, min(body, person.shape[1]))
    steps = np.flatnonzero(np.diff(np.pad(person[0, :body, 3] > 127, 1)))
    if len(steps) == 0:
        return person[:0]
    cuts = steps.reshape(-1, 2) - [0, 1]  # first and last columns
    left, right = cuts[np.maximum(cuts[:, 0] - middle, middle - cuts[:, 1]).argmin()]
    to_body = body < person.shape[1] and right == body - 1
    if left == 0 and right == body - 1:  # no head: the whole picture moves
        return person[:0]
    if right < cuts[-1, 0] and cuts[-1, 1] == body - 1:  # a collar, say
        body = cuts[-1, 0]
    width = float(right - left) * (2 if to_body else 1)  # of the round, whose other half the body is
    most = min(max(beyond, LEAST_CROWN * width), person.shape[0] // 2)
    rise = _slope(person[..., 3], left, -1, width)
    fall = rise if to_body else _slope(person[..., 3], right, 1, width)
    outline = _arc(np.arange(person.shape[1]) - left + 0.5, width, rise, fall)
    outline *= min(1.0, most / max(outline.max(), 1e-6))
    above = int(outline.max())
    if above < 2:
        return person[:0]
    rows = np.arange(-above - 1, 0, dtype=np.float32)[:, None]
    columns = np.broadcast_to(np.arange(person.shape[1], dtype=np.float32), (above + 1, person.shape[1]))
    room = max(room, LEAST_ROOM)
    mirrored = np.broadcast_to(room - np.abs(-shown * rows % (2 * room) - room), columns.shape)
    hair = cv2.remap(person, columns, mirrored, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    is_head = (left <= columns) & (columns <= right)
    is_round = np.clip((outline + rows + 1.0) * 255, 0, 255)
    hair[..., 3] = np.where(is_head, is_round, hair[..., 3] * (columns >= body))
    hair[0, left : right + 1, 3] = 0  # what lies still higher is like the first row
    return hair


def _arc(at: np.ndarray, width: float, rise: float, fall: float) -> np.ndarray:
    """(N,) heights at (N,) places of an arc over `width`, with these slopes at its ends; a circle's where they are
    equal. It is a rational Bézier curve: Piegl, Tiller, "The NURBS book", 1997, 7.2."""
    along = np.linspace(0, 1, 257)
    corner = width * fall / (rise + fall)  # above it the tangents of both ends meet
    weight = np.cos((np.arctan(rise) + np.arctan(fall)) / 2)
    start, middle, end = (1 - along) ** 2, 2 * weight * along * (1 - along), along**2
    total = start + middle + end
    places, heights = (middle * corner + end * width) / total, middle * corner * rise / total
    return np.interp(at, places, heights, left=0.0, right=0.0)


def _slope(matte: np.ndarray, end: int, side: int, width: float) -> float:
    """How steeply an outline, `side` of a person whose first row of the matte (H, W) ends there, meets that row."""
    rows = np.arange(1, min(max(3, round(SLOPE_OVER * width)), len(matte)))
    beside = matte[rows, end + 1 :] if side > 0 else matte[rows, :end][:, ::-1]
    if not beside.size:
        return STEEPEST
    apart = np.argmin(np.pad(beside > 127, ((0, 0), (0, 1))), axis=1)  # how far beyond the end each row goes
    if apart.max() == beside.shape[1]:  # it leaves the photo there, too
        return STEEPEST
    sideways, _ = np.linalg.lstsq(np.column_stack([rows, rows**2]), apart, rcond=None)[0]
    return 1 / max(sideways, 1 / STEEPEST)
