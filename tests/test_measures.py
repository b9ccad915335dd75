"""Measures on the frames of clips: what they compare, what they miss, what they share, and that runs do not matter."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from pictures import ASTRONAUT, picture
from scipy.linalg import sqrtm
from torch import Tensor, nn

from fomm.errors import InputError, MissingWeightsError
from fomm.evaluation import metrics
from fomm.evaluation.definitions import METRICS, PSNR_MAX
from fomm.evaluation.frames import ClipReference, Detector, Frames, Reference, Values
from fomm.evaluation.measures import (
    Aed,
    Akd,
    AkdTruth,
    Bodies,
    FacePixels,
    FlowError,
    HeadPose,
    IdentityTruth,
    Jitter,
    Lpips,
    OwnKeypoints,
    Pixels,
    Similarity,
)
from fomm.evaluation.metrics import UNKNOWN
from fomm.evaluation.results import Fid
from fomm.pretrained.embedders import Convention, Embedder
from fomm.pretrained.features import ALEXNET_FILE, INCEPTION_FILE, load_inception, load_lpips
from fomm.video import read_image
from preprocess.faces import FaceFinder

# ---------------------------------------------------------------------------------------------------------------------
# A face that everyone can find: a square of one colour on black. Its landmarks are its corners, its yaw its x.


def look(picture: np.ndarray) -> np.ndarray | None:
    rows, columns = (np.flatnonzero(picture.max((2, 1 - axis)) > 127) for axis in (0, 1))
    if not len(rows):
        return None
    return np.array([(x, y) for x in (columns[0], columns[-1]) for y in (rows[0], rows[-1])], float)


def detector() -> Detector:
    return Detector("square", look, angles=lambda corners: (corners[0, 0], 0.0, 0.0))


def faces(places: list[tuple[int, int] | None], *, side: int = 60, size: int = 256, colour=(1.0, 1.0, 1.0)) -> Tensor:
    """(T, 3, size, size): the square with its top left corner (x, y); None: nobody."""
    frames = torch.zeros(len(places), 3, size, size)
    for frame, place in zip(frames, places, strict=True):
        if place:
            frame[:, place[1] : place[1] + side, place[0] : place[0] + side] = torch.tensor(colour)[:, None, None]
    return frames


def reference(driving: Tensor, truth: Tensor | None = None, source: Tensor | None = None, **more) -> Reference:
    source = driving[0] if source is None else source
    return Reference(ClipReference("clip", source, identity=more.pop("identity", "")), driving, truth, **more)


def reconstruction(prediction: Tensor, truth: Tensor, **more) -> Frames:
    return Frames(prediction, reference(truth, truth, **more))


def run(measure, frames: Frames) -> Values:
    measure.start(frames.reference.clip)
    values = measure.update(frames)
    return values | measure.finish()


def in_runs(measure, prediction: Tensor, driving: Tensor, truth: Tensor | None, lengths: list[int]) -> Values:
    """The same clip in runs of some lengths."""
    clip = ClipReference("clip", driving[0])
    parts: dict[str, list[np.ndarray]] = {}
    measure.start(clip)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        known = Reference(clip, driving[part], None if truth is None else truth[part])
        for name, values in measure.update(Frames(prediction[part], known)).items():
            parts.setdefault(name, []).append(values)
        start += length
    for name, values in measure.finish().items():
        parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


# -------------------------------------------------------------------------------------------------------------- pixels


def test_pixels_of_equal_and_of_known_frames() -> None:
    truth = faces([(50, 60), (70, 80)])
    assert {k: v.tolist() for k, v in run(Pixels(), reconstruction(truth, truth)).items()} == {
        "l1": [0.0, 0.0],
        "psnr": [PSNR_MAX] * 2,
        "ssim": pytest.approx([1.0, 1.0], abs=1e-6),
    }
    shifted = faces([(53, 60), (70, 80)])
    values = run(Pixels(), reconstruction(shifted, truth))
    assert values["l1"] == pytest.approx([2 * 3 * 60 / 256**2, 0])
    assert values["psnr"][0] == pytest.approx(10 * math.log10(256**2 / 360))
    assert run(Pixels(), Frames(shifted, reference(truth))) == {}, "nothing to compare with"


def test_face_pixels_look_only_inside_the_truth_s_face() -> None:
    truth = faces([(50, 60), (50, 60), None])
    prediction = truth.clone()
    prediction[0, :, :40] = 0.7  # far from the face
    prediction[1, :, 60:90, 50:110] -= 0.5  # half of the face
    values = run(FacePixels(detector()), reconstruction(prediction, truth))
    assert values["l1_face"].tolist() == pytest.approx([0.0, 0.25, UNKNOWN])
    assert values["psnr_face"].tolist() == pytest.approx([PSNR_MAX, 10 * math.log10(1 / 0.125), UNKNOWN])
    assert values["ssim_face"][0] == pytest.approx(1.0, abs=1e-6) and 0 < values["ssim_face"][1] < 0.9
    assert values["ssim_face"][2] == UNKNOWN
    assert run(Pixels(), reconstruction(prediction, truth))["l1"][0] > 0.1


def test_face_pixels_of_small_frames() -> None:
    truth = faces([(25, 30)], side=30, size=128)
    prediction = truth.clone()
    prediction[0, :, 30:60, 25:40] -= 0.5
    assert run(FacePixels(detector()), reconstruction(prediction, truth))["l1_face"] == pytest.approx([0.25], abs=0.01)


# ---------------------------------------------------------------------------------------------------------------- flow


def textured(shifts: list[int], seed: int = 0) -> Tensor:
    """(T, 3, 256, 256): a smooth random texture, moved to the right by so many pixels."""
    rough = np.random.default_rng(seed).uniform(0, 255, (256, 400)).astype(np.float32)
    grey = np.clip(cv2.GaussianBlur(rough, (0, 0), 4) * 6 - 640, 0, 255)
    frames = np.stack([grey[:, 60 - shift : 316 - shift] for shift in shifts])
    return torch.from_numpy(frames / 255)[:, None].expand(-1, 3, -1, -1).contiguous()


def test_tof_is_the_difference_of_motions_whatever_is_seen() -> None:
    """The truth moves by 2 pixels a frame; another texture that does, too, one that stands, one that is faster."""
    truth = textured([0, 2, 4, 6])
    alike, still, fast = textured([0, 2, 4, 6], seed=1), truth[:1].expand_as(truth), textured([0, 3, 6, 9])
    assert run(FlowError(), reconstruction(truth, truth))["tof"].tolist() == [0, 0, 0]
    assert run(FlowError(), reconstruction(alike, truth))["tof"] == pytest.approx([0] * 3, abs=0.3)
    assert run(FlowError(), reconstruction(still, truth))["tof"] == pytest.approx([2] * 3, abs=0.2)
    assert run(FlowError(), reconstruction(fast, truth))["tof"] == pytest.approx([1] * 3, abs=0.2)
    whole = in_runs(FlowError(), fast, truth, truth, [4])["tof"]
    np.testing.assert_array_equal(in_runs(FlowError(), fast, truth, truth, [1, 2, 1])["tof"], whole)
    assert run(FlowError(), Frames(truth, reference(truth))) == {}, "nothing to compare with"


# ----------------------------------------------------------------------------------------------------------- landmarks


def test_bodies_by_hand() -> None:
    """Of four keypoints three are seen in the truth, two of them in the prediction, 3 and 5 px off in x."""

    def points(*rows: tuple[float, float, float]) -> Detector:
        return np.array(rows, np.float32)

    truth = points((10, 10, 0.9), (20, 20, 0.5), (30, 30, 1.0), (40, 40, 0.4))
    seen = points((13, 10, 0.9), (25, 20, 0.7), (30, 30, 0.1), (40, 40, 0.9))
    hidden = points(*[(0, 0, 0.1)] * 4)
    sides = {"prediction": [seen, None, hidden, seen, seen], "truth": [truth, truth, truth, None, hidden]}
    pose = SimpleNamespace(landmarks_of=lambda frames, which: sides[which])
    blank = torch.zeros(5, 3, 8, 8)
    values = run(Bodies(pose), reconstruction(blank, blank))
    np.testing.assert_allclose(values["akd_pose"], [(3 + 5) / 2 / 2, np.nan, np.nan, UNKNOWN, UNKNOWN])
    np.testing.assert_allclose(values["mkr_pose"], [1 / 3, 1, 1, UNKNOWN, UNKNOWN])


def test_bodies_of_a_photo() -> None:
    """A person who is moved by 8 pixels to the right, and a person whose lower half is covered."""
    photo = cv2.resize(read_image(picture(ASTRONAUT)), (256, 256), interpolation=cv2.INTER_AREA)
    person = torch.from_numpy(photo)
    truth = (person.permute(2, 0, 1) / 255)[None].repeat(3, 1, 1, 1)
    moved = torch.cat([truth[:1, :, :, :1].expand(-1, -1, -1, 8), truth[:1, :, :, :-8]], 3)
    covered = truth[:1].clone()
    covered[..., 110:, :] = 0.5
    prediction = torch.cat([moved, covered, torch.full_like(covered, 0.5)])
    with FaceFinder() as finder:
        values = run(Bodies(Detector("pose", finder.pose)), reconstruction(prediction, truth))
    assert values["akd_pose"][0] == pytest.approx(4, abs=1.5) and values["mkr_pose"][0] <= 0.1
    assert 0 < values["mkr_pose"][1] < 1 and values["mkr_pose"][2] == 1 and np.isnan(values["akd_pose"][2])


def test_akd_of_shifted_faces_is_known_and_misses_are_misses() -> None:
    truth = faces([(50, 60), (50, 60), (50, 60), None, None])
    prediction = faces([(50, 60), (53, 56), None, (50, 60), None])
    measure = Akd(detector())
    assert measure.names == ("akd_square",)
    values = run(measure, reconstruction(prediction, truth))["akd_square"]
    np.testing.assert_array_equal(values, [0.0, 3.5, np.nan, UNKNOWN, UNKNOWN])
    counted = metrics.tally(values)
    assert counted.mean == 1.75 and (counted.frames, counted.missed) == (2, 1)
    assert counted.mean_with_misses(METRICS["akd_mediapipe"].penalty) == pytest.approx((3.5 + 256 / 3) / 3)
    assert run(measure, Frames(prediction, reference(truth))) == {}


def test_distances_are_told_in_pixels_at_256() -> None:
    truth, prediction = faces([(20, 20)], side=32, size=128), faces([(26, 20)], side=32, size=128)
    assert run(Akd(detector()), reconstruction(prediction, truth))["akd_square"] == pytest.approx([6.0])
    assert run(Jitter(detector()), reconstruction(prediction, truth)) == {}, "one frame has no acceleration"


def test_akd_truth_is_against_exact_landmarks() -> None:
    mesh = np.zeros((468, 2))
    exact = np.zeros((73, 2))
    for number, (a, b) in enumerate(AkdTruth.PAIRS):
        mesh[a] = exact[b] = (10 * number + 0.5, 5 * number + 0.5)
    found = Detector("mesh", lambda picture: mesh if picture.any() else None)
    prediction = faces([(10, 10), (10, 10), None])
    known = np.stack([exact, exact + (4, -2), exact])
    frames = reconstruction(prediction, prediction, truth_landmarks_px=known)
    np.testing.assert_allclose(run(AkdTruth(found), frames)["akd_truth"], [0, 3, np.nan])
    # the same landmarks in a picture half as wide
    half = faces([(5, 5), (5, 5), None], side=30, size=128)
    frames = reconstruction(half, half, truth_landmarks_px=(known + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(run(AkdTruth(found), frames)["akd_truth"], [0, 3, np.nan], atol=1e-9)
    assert run(AkdTruth(found), reconstruction(prediction, prediction)) == {}


def test_jitter_counts_shaking_but_no_drift_and_runs_do_not_matter() -> None:
    still = faces([(50, 60)] * 8)
    drifting = faces([(50 + 2 * t, 60) for t in range(8)])
    shaking = faces([(50 + 2 * (t % 2), 60) for t in range(8)])
    measure = Jitter(detector())
    assert run(measure, reconstruction(still, still))["jitter"].tolist() == [0.0] * 6
    assert run(measure, reconstruction(drifting, still))["jitter"].tolist() == [0.0] * 6
    assert run(measure, reconstruction(shaking, still))["jitter"].tolist() == [4.0] * 6
    assert run(measure, Frames(shaking, reference(still)))["jitter"].tolist() == [4.0] * 6, "against the driving's"
    assert run(measure, reconstruction(still, shaking))["jitter"].tolist() == [4.0] * 6, "nor may it be smoother"
    for lengths in ([8], [3, 5], [1, 1, 1, 5], [2, 2, 2, 2]):
        assert in_runs(measure, shaking, still, still, lengths)["jitter"].tolist() == [4.0] * 6


def test_jitter_misses_every_triple_with_a_missed_frame() -> None:
    truth = faces([(50, 60)] * 8)
    prediction = faces([(50, 60)] * 3 + [None] + [(50, 60)] * 4)
    values = run(Jitter(detector()), reconstruction(prediction, truth))["jitter"]
    np.testing.assert_array_equal(values, [0, np.nan, np.nan, np.nan, 0, 0])
    assert run(Jitter(detector()), reconstruction(truth, prediction))["jitter"].tolist() == [0] + [UNKNOWN] * 3 + [0, 0]


def test_head_pose_against_the_truth_or_as_changes() -> None:
    measure = HeadPose(detector())
    truth = faces([(50, 60), (56, 60), (62, 60)])
    prediction = faces([(53, 60), (59, 60), None])  # yaw is x: 3 degrees off; a mean over three angles
    np.testing.assert_allclose(run(measure, reconstruction(prediction, truth))["head_pose"], [1, 1, np.nan])
    # with no truth, a constant difference is another head, not an error
    np.testing.assert_allclose(run(measure, Frames(prediction, reference(truth)))["head_pose"], [0, 0, np.nan])
    late = faces([None, (53, 60), (62, 60)])
    for lengths in ([3], [1, 2], [1, 1, 1]):
        values = in_runs(measure, late, truth, None, lengths)["head_pose"]
        np.testing.assert_allclose(values, [np.nan, 0, 1]), "changes since the first frame that both show"
    with pytest.raises(ValueError, match="angles"):
        HeadPose(Detector("flat", look))


def test_own_keypoints() -> None:
    def centre_of_mass(frames: Tensor) -> Tensor:
        """One keypoint in [-1, 1], +-1 on the centres of the border pixels."""
        weights = frames.mean(1)
        axis = torch.linspace(-1, 1, frames.shape[-1])
        total = weights.sum((1, 2))
        x, y = (weights.sum(dim) @ axis / total for dim in (1, 2))
        return torch.stack([x, y], 1)[:, None]

    truth, prediction = faces([(50, 60), (50, 60)]), faces([(50, 60), (56, 50)])
    frames = Frames(prediction, reference(truth, truth), centre_of_mass)
    assert run(OwnKeypoints(), frames)["keypoints_own"] == pytest.approx([0.0, 8.0], abs=1e-3)
    assert run(OwnKeypoints(), Frames(prediction, reference(truth, truth))) == {}, "repeating the source has none"
    assert run(OwnKeypoints(), Frames(prediction, reference(truth), centre_of_mass)) == {}


# ------------------------------------------------------------------------------------------------------------ identity


class Colours(nn.Module):
    """The direction of the mean colour: as simple an identity as there is."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.mean((2, 3))


def whole_frames(metric: str = "identity_colours", network: Callable[[Tensor], Tensor] | None = None) -> Embedder:
    return Embedder(metric, network or Colours(), Convention(96, False, "BGR", 0.0, 1.0))


def test_aed_is_two_minus_two_cosines_of_whole_frames() -> None:
    red, yellow = (1.0, 0.0, 0.0), (1.0, 1.0, 0.0)
    truth = faces([(50, 60), (50, 60)], colour=red)
    prediction = torch.cat([truth[:1], faces([(90, 20)], colour=yellow)])
    values = run(Aed(whole_frames()), reconstruction(prediction, truth))["aed_openface"]
    assert values == pytest.approx([0.0, 2 - 2 * math.cos(math.pi / 4)], abs=1e-6)
    assert run(Aed(whole_frames()), Frames(prediction, reference(truth))) == {}
    swapped = run(Aed(whole_frames()), reconstruction(truth, prediction))["aed_openface"]
    assert swapped == pytest.approx(values, abs=1e-7)


def test_similarity_is_with_the_truth_or_the_source() -> None:
    red, yellow = (1.0, 0.0, 0.0), (1.0, 1.0, 0.0)
    prediction, truth = faces([(50, 60)] * 2, colour=red), faces([(50, 60)] * 2, colour=yellow)
    measure = Similarity(whole_frames())
    assert measure.names == ("identity_colours",)
    cosine = math.cos(math.pi / 4)
    assert run(measure, reconstruction(prediction, truth))["identity_colours"] == pytest.approx([cosine] * 2, abs=1e-3)
    source = faces([(10, 10)], colour=red)[0]
    same = Frames(prediction, reference(truth, source=source))
    assert run(measure, same)["identity_colours"] == pytest.approx([1.0] * 2, abs=1e-3)


def test_similarity_of_aligned_faces_misses_where_there_is_no_face() -> None:
    def mesh_of(picture: np.ndarray) -> np.ndarray | None:
        corners = look(picture)
        return None if corners is None else np.tile(corners, (17, 1))[:68] + np.arange(68)[:, None] * 0.1

    mesh = Detector("mesh", mesh_of)
    aligned = Embedder("csim_arcface", Colours(), Convention(112))
    measure = Similarity(aligned, mesh)
    assert measure.names == ("csim_arcface",)
    truth = faces([(50, 60), (50, 60), None])
    prediction = faces([(50, 60), None, (50, 60)])
    np.testing.assert_allclose(run(measure, reconstruction(prediction, truth))["csim_arcface"], [1, np.nan, UNKNOWN])
    nobody = run(measure, Frames(prediction, reference(truth, source=truth[2])))["csim_arcface"]
    assert nobody.tolist() == [UNKNOWN] * 3, "no face in the source either"
    assert np.isnan(run(measure, reconstruction(faces([None]), truth[:1]))["csim_arcface"]).all()
    with pytest.raises(ValueError, match="detector"):
        Similarity(aligned)


def test_identity_truth_knows_puppets_by_drawing_them() -> None:
    from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity

    size, camera = 96, Camera(y=0.1, view=2.6)
    poses = [Pose(yaw=0.2, mouth=0.5), Pose(roll=-0.15, smile=0.5)]
    people = {f"puppet{seed}": random_identity(seed) for seed in (11, 12, 13)}
    drawn = {name: [draw(person, pose, size, camera) for pose in poses] for name, person in people.items()}
    pictures = {name: np.stack([d.image for d in drawings]) for name, drawings in drawn.items()}
    frames_of = {name: torch.from_numpy(x).permute(0, 3, 1, 2) / 255 for name, x in pictures.items()}
    right = "puppet12"
    calls = []

    def portraits() -> dict[str, np.ndarray]:
        calls.append(1)
        return pictures

    known = reference(
        frames_of[right],
        frames_of[right],
        identity=right,
        truth_landmarks_px=np.stack([d.landmarks_px for d in drawn[right]]),
        portraits=portraits,
    )
    measure = IdentityTruth()
    assert run(measure, Frames(frames_of[right], known))["identity_truth"].tolist() == [1.0, 1.0]
    assert run(measure, Frames(frames_of["puppet13"], known))["identity_truth"].tolist() == [0.0, 0.0]
    assert len(calls) == 1, "drawn once for all models"
    # imperfect pictures of the right person, on somebody else's background, are still of the right person
    wrong_background = frames_of["puppet13"].clone()
    for t, drawing in enumerate(drawn[right]):
        face = torch.from_numpy(metrics.hull_mask(drawing.landmarks_px, size, size))
        wrong_background[t, :, face] = frames_of[right].roll(2, -1)[t, :, face] * 0.9
    assert run(measure, Frames(wrong_background, known))["identity_truth"].tolist() == [1.0, 1.0]
    assert run(measure, reconstruction(frames_of[right], frames_of[right])) == {}


# -------------------------------------------------------------------------------------------- sharing, runs, batches


def test_the_reference_is_looked_at_once_for_all_models() -> None:
    looked: list[int] = []

    def counting(picture: np.ndarray) -> np.ndarray | None:
        looked.append(int(picture.sum()))
        return look(picture)

    embedded: list[int] = []

    class Counting(Colours):
        def forward(self, pictures: Tensor) -> Tensor:
            embedded.append(len(pictures))
            return super().forward(pictures)

    mesh = Detector("square", counting, angles=lambda corners: (corners[0, 0], 0.0, 0.0))
    truth = faces([(50, 60), (52, 60), (54, 60)])
    known = reference(truth, truth)
    all_of_them = [
        Pixels(),
        FacePixels(mesh),
        Akd(mesh),
        Jitter(mesh),
        HeadPose(mesh),
        Aed(whole_frames("a", Counting())),
    ]
    for _ in range(3):  # models
        frames = Frames(truth.clone(), known)
        for measure in map(copy.copy, all_of_them):
            measure.start(known.clip)
            measure.update(frames)
    assert len(looked) == 3 * (1 + 3), "each frame of the truth once, each prediction once for all measures"
    assert embedded == [3, 3, 3, 3], "the first model's, the truth's, the others'"


def test_copies_are_independent() -> None:
    measure = Jitter(detector())
    one, two = copy.copy(measure), copy.copy(measure)
    shaking, still = faces([(50, 60), (52, 60), (50, 60)]), faces([(50, 60)] * 3)
    clip = ClipReference("clip", still[0])
    one.start(clip), two.start(clip)
    values = {id(m): [] for m in (one, two)}
    for t in range(3):
        for copied, prediction in ((one, shaking), (two, still)):
            part = Reference(clip, still[t : t + 1], still[t : t + 1], t)
            values[id(copied)] += list(copied.update(Frames(prediction[t : t + 1], part)).get("jitter", []))
    assert values == {id(one): [4.0], id(two): [0.0]}


def test_runs_of_any_length_give_the_same_values() -> None:
    torch.manual_seed(0)
    driving = faces([(50 + 3 * t, 60 + t) for t in range(7)]) * 0.8 + 0.1 * torch.rand(7, 3, 256, 256)
    prediction = faces([(51 + 2 * t, 60 + 2 * t) for t in range(7)]) * 0.8 + 0.1 * torch.rand(7, 3, 256, 256)
    mesh = detector()
    for measure in (Pixels(), FacePixels(mesh), Akd(mesh), Jitter(mesh), HeadPose(mesh), Aed(whole_frames())):
        whole = in_runs(measure, prediction, driving, driving, [7])
        for lengths in ([3, 4], [1] * 7):
            parts = in_runs(measure, prediction, driving, driving, lengths)
            assert parts.keys() == whole.keys()
            for name in whole:
                assert parts[name].dtype == np.float64
                np.testing.assert_allclose(parts[name], whole[name], atol=1e-6)


# -------------------------------------------------------------------------------------------------------- LPIPS and FID


def random_frames(count: int, seed: int, gain: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(count, 3, 1, 1, generator=generator)
    return (gain * colours * torch.rand(count, 3, 24, 24, generator=generator)).clamp(0, 1)


def frechet(one: np.ndarray, two: np.ndarray) -> float:
    """Heusel et al. 2017, with scipy's matrix root."""
    root = sqrtm(np.cov(one.T) @ np.cov(two.T)).real
    return float(np.square(one.mean(0) - two.mean(0)).sum() + np.trace(np.cov(one.T) + np.cov(two.T) - 2 * root))


def test_fid_is_the_frechet_distance_however_it_was_gathered() -> None:
    rng = np.random.default_rng(1)
    wanted, made = rng.normal(size=(40, 4)), rng.normal(0.3, 1.4, (40, 4))
    together, parts, equal = Fid(4), Fid(4), Fid(4)
    together.add(wanted, made)
    for t in (30, 0, 10, 20):  # any order
        parts.add(wanted[t : t + 10], made[t : t + 10])
    assert together.frames == parts.frames == 40
    assert together.compute() == pytest.approx(frechet(wanted, made), rel=1e-5) == parts.compute()
    equal.add(wanted, wanted)
    assert equal.compute() == pytest.approx(0, abs=1e-6)


def test_fid_of_too_few_frames_is_no_number() -> None:
    fid = Fid(4)
    fid.add(np.ones((1, 4)), np.zeros((1, 4)))
    assert math.isnan(fid.compute())


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache, empty; `torch.hub.set_dir` would outlast the test and go before TORCH_HOME in later ones."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints


class Hostile:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize("name", ["lpips", "inception"])
def test_missing_weights_and_what_is_no_weights(name, hub, capfd) -> None:
    load = {"lpips": load_lpips, "inception": load_inception}[name]
    file = {"lpips": ALEXNET_FILE, "inception": INCEPTION_FILE}[name]
    with pytest.raises(MissingWeightsError) as error:
        load()
    assert str(hub / file) in str(error.value) and "https://" in str(error.value)
    for content in (Hostile(), {"features.0.weight": torch.zeros(3)}):
        torch.save(content, hub / file)
        with pytest.raises(InputError, match="not (a file of weights|the AlexNet|the Inception)"):
            load()
    assert "owned" not in capfd.readouterr().out


def test_lpips_with_weights_from_a_file(hub) -> None:
    import torchvision

    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    torch.save(alexnet.state_dict(), hub / ALEXNET_FILE)
    network = load_lpips()
    truth = torch.rand(2, 3, 64, 64)
    prediction = torch.stack([truth[0], torch.rand(3, 64, 64)])
    values = run(Lpips(network), reconstruction(prediction, truth))["lpips"]
    assert values.shape == (2,) and values[0] == 0 and values[1] > 0
    swapped = run(Lpips(network), reconstruction(truth, prediction))["lpips"]
    assert swapped == pytest.approx(values, abs=1e-6)
    assert run(Lpips(network), Frames(prediction, reference(truth))) == {}
    # the same by hand: AlexNet's features of length 1, squared differences, weighted, averaged
    linear = torch.load(measures_lpips_file(), map_location="cpu", weights_only=True)
    scaled = [(2 * x - 1 - torch.tensor([-0.030, -0.088, -0.188]).reshape(3, 1, 1)) for x in (prediction, truth)]
    scaled = [x / torch.tensor([0.458, 0.448, 0.450]).reshape(3, 1, 1) for x in scaled]
    total = torch.zeros(2)
    with torch.no_grad():
        for number, stop in enumerate((2, 5, 8, 10, 12)):
            one, two = (alexnet.features[:stop](x) for x in scaled)
            one, two = (x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt() for x in (one, two))
            total += ((one - two).square() * linear[f"lin{number}.model.1.weight"]).sum(1).mean((1, 2))
    assert values == pytest.approx(total.tolist(), rel=1e-4)


def measures_lpips_file() -> str:
    from pathlib import Path

    import torchmetrics

    return str(Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth")


def test_fid_s_network_with_weights_from_a_file(hub, monkeypatch) -> None:
    from torchmetrics.image.fid import NoTrainInceptionV3

    torch.manual_seed(0)
    with monkeypatch.context() as patched:  # only to have a file of the right shape
        patched.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        made = NoTrainInceptionV3("inception-v3-compat", ["2048"], None)
    torch.save(made.state_dict(), hub / INCEPTION_FILE)
    loaded = load_inception()
    pictures = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = loaded(pictures)
        assert features.shape == (1, 2048) and torch.equal(features, made(pictures))


# ------------------------------------------------------------------------------------------------------ with real faces


def test_mediapipe_on_puppets_and_on_a_photo() -> None:
    """The real detector: zero on equal frames, the size of a shift on shifted ones, near the exact landmarks."""
    from fomm.video import read_image
    from preprocess.faces import FaceFinder
    from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity

    drawn = [draw(random_identity(5), pose, 256, Camera(y=0.1, view=3.0)) for pose in (Pose(), Pose(yaw=0.2))]
    frames = torch.from_numpy(np.stack([d.image for d in drawn])).permute(0, 3, 1, 2) / 255
    exact = np.stack([d.landmarks_px for d in drawn])
    with FaceFinder() as finder:
        mesh = Detector(
            "mediapipe",
            lambda picture: next(iter(finder.find(picture, thorough=False)), None),
            landmarks=lambda face: face.landmarks_px,
            angles=lambda face: (face.yaw_deg, face.pitch_deg, face.roll_deg),
        )
        equal = reconstruction(frames, frames, truth_landmarks_px=exact)
        assert run(Akd(mesh), equal)["akd_mediapipe"].tolist() == [0.0, 0.0]
        assert run(HeadPose(mesh), equal)["head_pose"].tolist() == [0.0, 0.0]
        assert (run(AkdTruth(mesh), equal)["akd_truth"] < 4).all(), "the detector's own error"
        shifted = reconstruction(frames.roll((6, -4), (-1, -2)), frames, truth_landmarks_px=exact)
        assert run(Akd(mesh), shifted)["akd_mediapipe"] == pytest.approx([5.0, 5.0], abs=0.7)
        assert run(HeadPose(mesh), shifted)["head_pose"].max() < 2
        assert (run(AkdTruth(mesh), shifted)["akd_truth"] > 3.5).all()
        photo = torch.from_numpy(read_image(picture(ASTRONAUT))).permute(2, 0, 1)[None] / 255
        photo = nn.functional.interpolate(photo, (256, 256), mode="bilinear", antialias=True)
        darker = run(FacePixels(mesh), reconstruction(photo * 0.9, photo))
        assert 0 < darker["l1_face"][0] < 0.1 and np.isfinite(darker["ssim_face"]).all()
