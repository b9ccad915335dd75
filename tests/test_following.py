"""Whether anything was transferred: who stands still comes last, a perfect copy of the driver first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fomm.evaluation.definitions import METRICS
from fomm.evaluation.following import Following
from fomm.evaluation.frames import ClipReference, Detector, Frames, Reference
from fomm.evaluation.metrics import UNKNOWN, tally
from fomm.manifest import read_manifest, read_pairs
from fomm.pixels import to_tensor
from fomm.video import VideoReader
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import write_puppet_pairs


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """contender -> metric -> mean over clips: the driver drawn with the source's identity, and the source itself."""
    folder = tmp_path_factory.mktemp("puppets")
    write_puppet_pairs(folder, identities=40, pairs=2, frames=12, size=256, fps=6, seed=3)
    clips = {clip.clip_id: clip for clip in read_manifest(folder / "manifest.csv")}
    found: dict[str, dict[str, list[float]]] = {"copy": {}, "still": {}, "gone": {}}
    with FaceFinder() as finder:
        mesh = Detector("mesh", finder.mesh)
        for pair in read_pairs(folder / "pairs.csv", clips.values()):
            source, driving, truth = (
                to_tensor(np.stack([frame.image for frame in VideoReader(folder / clips[name].path)]))
                for name in (pair.source, pair.driving, pair.truth)
            )
            clip = ClipReference(pair.driving, source[0])
            reference = Reference(clip, driving)
            still = source[:1].expand(len(driving), -1, -1, -1)
            for name, made in (("copy", truth), ("still", still), ("gone", torch.zeros_like(driving))):
                measure = Following(mesh)
                measure.start(clip)
                assert measure.update(Frames(made[:5], reference_of(reference, slice(0, 5)))) == {}
                measure.update(Frames(made[5:], reference_of(reference, slice(5, None))))
                said = measure.finish()
                assert said.keys() == set(Following.names)
                for metric, array in said.items():
                    counted = tally(array)
                    if counted.frames or counted.missed:
                        mean = counted.mean_with_misses(METRICS[metric].penalty)
                        found[name].setdefault(metric, []).append(mean)
    return {name: {metric: float(np.mean(means)) for metric, means in of.items()} for name, of in found.items()}


def reference_of(whole: Reference, part: slice) -> Reference:
    return Reference(whole.clip, whole.driving[part])


def test_a_copy_comes_first_and_the_still_picture_last(values: dict[str, dict[str, float]]) -> None:
    assert {"mouth_correlation", "eyes_correlation", "gaze_correlation", "pose_correlation"} <= values["copy"].keys()
    for metric, copied in values["copy"].items():
        still, sign = values["still"][metric], 1 if METRICS[metric].better == "higher" else -1
        assert sign * copied > sign * still, f"{metric}: copy {copied}, still {still}"
    for deed in ("mouth", "eyes", "pose"):
        assert values["copy"][f"{deed}_correlation"] > 0.9 and values["copy"][f"{deed}_slope"] < 0.35
        assert values["still"][f"{deed}_correlation"] == 0 and values["still"][f"{deed}_slope"] == 1


def test_without_a_face_everything_is_missed(values: dict[str, dict[str, float]]) -> None:
    gone = values["gone"]
    assert gone["mouth_correlation"] == 0 and gone["mouth_slope"] == 1
    assert np.isnan(gone["expression_mesh"]), "a miss has no value to count as"


def test_where_the_driver_shows_no_face_nothing_is_said() -> None:
    clip = ClipReference("nobody", torch.zeros(3, 8, 8))
    measure = Following(Detector("nobody", lambda picture: None))
    measure.start(clip)
    measure.update(Frames(torch.zeros(4, 3, 8, 8), Reference(clip, torch.zeros(4, 3, 8, 8))))
    assert all((array == UNKNOWN).all() for array in measure.finish().values())


def test_every_number_has_a_meaning() -> None:
    assert set(Following.names) <= METRICS.keys()
