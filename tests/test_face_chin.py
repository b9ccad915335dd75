"""The skin below the lower lip, which the mesh loses in open mouths."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import picture

from fomm.model.face.chin import with_skin_below_lip
from fomm.model.face.mesh import CHIN, MOUTH, REFERENCE, Pose, rotation_of
from fomm.video import VideoReader
from preprocess.faces import FaceFinder

BELOW = np.array([18, 83, 313, 200, 199, 175])  # from the lip down to the chin, the first three side by side
LIP_EDGE = 17


def opened() -> np.ndarray:
    """(478, 3) the reference with its mouth wide open: lower lip and chin are lower, as they are."""
    shape = REFERENCE.copy()
    lower = shape[:, 1] > shape[MOUTH.opening, 1].mean() + 1e-6
    shape[lower, 1] += 0.4
    return shape


def lost(shape: np.ndarray) -> np.ndarray:
    """The same as the mesh finds it: what is below the lip lies on it."""
    found = shape.copy()
    found[BELOW[:4], 1] = shape[LIP_EDGE, 1] - 0.05
    return found


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, -10, 15)])
def test_what_lies_on_the_lip_is_put_below_it(angles: tuple[float, float, float]) -> None:
    pose, true = Pose(80.0, rotation_of(np.array(angles, float)), np.array([200.0, 180, 0])), opened()
    landmarks = pose.place(lost(true))
    found = with_skin_below_lip(landmarks)
    shape = pose.shape(found)
    below, lip, chin = shape[BELOW, 1], shape[LIP_EDGE, 1], shape[CHIN, 1]
    assert (np.diff(below[[0, 3, 4, 5]]) > 0).all() and lip < below.min() and below.max() < chin
    assert np.abs(below - true[BELOW, 1]).max() < 0.4 * np.abs(pose.shape(landmarks)[BELOW, 1] - true[BELOW, 1]).max()
    others = np.setdiff1d(np.arange(478), np.flatnonzero((found != landmarks).any(1)))
    assert len(others) > 450 and np.isin([LIP_EDGE, CHIN, *MOUTH.opening], others).all()


@pytest.mark.parametrize("shape", [REFERENCE, opened()])
def test_what_is_below_the_lip_stays(shape: np.ndarray) -> None:
    landmarks = Pose(80.0, np.eye(3), np.zeros(3)).place(shape)
    assert with_skin_below_lip(landmarks) is landmarks


def test_in_a_real_open_mouth() -> None:
    with VideoReader(picture("drive_recorder_vfr.webm")) as reader, FaceFinder() as finder:
        shut, opened = (
            finder.mesh(next(reader.frames(number, number + 1)).image).astype(np.float64) for number in (0, 76)
        )
    assert with_skin_below_lip(shut)[BELOW, 1] == pytest.approx(shut[BELOW, 1], abs=0.02 * np.ptp(shut[:, 1]))
    middle = BELOW[[0, 3, 4, 5]]
    assert opened[middle[0], 1] < opened[LIP_EDGE, 1]
    assert (np.diff(with_skin_below_lip(opened)[[LIP_EDGE, *middle, CHIN], 1]) > 0).all()
