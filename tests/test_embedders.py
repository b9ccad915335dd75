"""Face networks: what they get to see, and files of the user's."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from small_onnx import write_constant_onnx, write_onnx, write_video_onnx

from fomm.errors import InputError, MissingWeightsError
from fomm.files import hash_file
from fomm.pretrained import embedders
from fomm.pretrained.embedders import Convention, align, five_points, load_embedder, similarity
from fomm.pretrained.openface import OpenFace
from fomm.pretrained.video_network import VideoNetwork


def expected_vector(colour: np.ndarray, mean: float, std: float) -> np.ndarray:
    vector = np.append((np.asarray(colour) - mean) / std, 1.0)
    return vector / np.linalg.norm(vector)


def flat(*colours) -> torch.Tensor:
    """Pictures of one colour each, larger than any network wants."""
    return torch.tensor(colours, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 200, 200).contiguous()


pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")

# The middle of such a picture: aligned faces lie inside it.
INSIDE = embedders.TEMPLATE_112[None] + 40


# ----------------------------------------------------------------------------------------------------------- alignment


def test_five_points_of_both_kinds_of_landmarks() -> None:
    mesh = np.zeros((468, 2))
    mesh[[33, 133, 362, 263, 1, 61, 291]] = [(0, 0), (2, 4), (5, 0), (7, 4), (3, 9), (1, 12), (6, 13)]
    assert five_points(mesh).tolist() == [[1, 2], [6, 2], [3, 9], [1, 12], [6, 13]]
    ibug = np.zeros((68, 2))
    ibug[36:42], ibug[42:48], ibug[30], ibug[48], ibug[54] = (1, 2), (6, 2), (3, 9), (1, 12), (6, 13)
    assert np.array_equal(five_points(ibug), five_points(mesh))
    with pytest.raises(ValueError, match="5"):
        five_points(np.zeros((5, 2)))


def test_similarity_recovers_a_known_one_and_never_mirrors() -> None:
    points = embedders.TEMPLATE_112
    angle, scale, shift = np.deg2rad(25), 1.7, np.array([12.0, -30.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity(points, points @ turn.T + shift)
    np.testing.assert_allclose(found, np.column_stack([turn, shift]), atol=1e-9)
    mirrored = similarity(points * (-1, 1), points)
    assert np.linalg.det(mirrored[:, :2]) > 0


@pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")
def test_similarity_agrees_with_skimage_on_noisy_points() -> None:
    """insightface estimates it with scikit-image."""
    SimilarityTransform = pytest.importorskip("skimage.transform").SimilarityTransform
    rng = np.random.default_rng(0)
    for _ in range(5):
        points = (
            embedders.TEMPLATE_112 @ rng.normal(size=(2, 2)) * 0.1 + embedders.TEMPLATE_112 + rng.normal(0, 4, (5, 2))
        )
        other = SimilarityTransform()
        other.estimate(points, embedders.TEMPLATE_112)
        np.testing.assert_allclose(similarity(points, embedders.TEMPLATE_112), other.params[:2], atol=1e-6)


@pytest.mark.parametrize("size", [112, 160])
def test_align_puts_the_five_points_where_arcface_wants_them(size) -> None:
    angle = np.deg2rad(-20)
    turn = 0.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = embedders.TEMPLATE_112 @ turn.T + (60, 90)
    y, x = np.mgrid[:256, :256]
    for number, (px, py) in enumerate(points):
        spot = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.5**2)).astype(np.float32)
        face = align(torch.from_numpy(spot).expand(1, 3, -1, -1), points[None], size)[0, 0].numpy()
        assert face.shape == (size, size)
        yy, xx = np.mgrid[:size, :size]
        centre = np.array([(face * xx).sum(), (face * yy).sum()]) / face.sum()
        np.testing.assert_allclose(centre, embedders.TEMPLATE_112[number] * size / 112, atol=0.1)


# -------------------------------------------------------------------------------------------------------- known names


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOMM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_openface_sees_the_whole_frame_small_and_in_bgr(cache) -> None:
    resize = pytest.importorskip("skimage.transform").resize
    torch.manual_seed(0)
    network = OpenFace().eval()
    torch.save(network.state_dict(), cache / "openface.pth")
    embedder = load_embedder("openface")
    assert embedder.metric == "aed_openface" and not embedder.aligned
    assert embedder.sha256 == hash_file(cache / "openface.pth")
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    vectors = embedder(torch.from_numpy(frames).permute(0, 3, 1, 2) / 255)
    # as the original authors' extract.py: reverse the colours, skimage 0.14's resize, channels first
    seen = [resize(frame[..., ::-1], (96, 96), order=1, anti_aliasing=False, mode="constant") for frame in frames]
    with torch.no_grad():
        expected = network(torch.tensor(np.stack(seen), dtype=torch.float32).permute(0, 3, 1, 2))
    np.testing.assert_allclose(vectors, expected.numpy(), atol=1e-5)


def test_arcface_sees_aligned_rgb_in_minus_one_to_one(cache, monkeypatch) -> None:
    write_onnx(cache / "w600k_r50.onnx")
    monkeypatch.setattr(embedders, "ARCFACE_SHA256", hash_file(cache / "w600k_r50.onnx"))
    embedder = load_embedder("arcface")
    assert embedder.metric == "csim_arcface" and embedder.aligned
    colours = [(1.0, 0.5, 0.0), (0.2, 0.4, 0.9)]
    vectors = embedder(flat(*colours), np.concatenate([INSIDE, INSIDE]))
    expected = [expected_vector((np.round(np.array(colour) * 255) - 127.5) / 127.5, 0, 1) for colour in colours]
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    with pytest.raises(ValueError, match="five points"):
        embedder(flat(colours[0]))


def test_arcface_is_found_where_insightface_keeps_it(cache, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "home" / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    write_onnx(folder / "w600k_r50.onnx")
    monkeypatch.setattr(embedders, "ARCFACE_SHA256", hash_file(folder / "w600k_r50.onnx"))
    load_embedder("arcface")


def test_arcface_missing_or_another_file(cache) -> None:
    with pytest.raises(MissingWeightsError) as error:
        load_embedder("arcface")
    for part in ("w600k_r50.onnx", "buffalo_l.zip", str(cache), "non-commercial"):
        assert part in str(error.value)
    write_onnx(cache / "w600k_r50.onnx")
    with pytest.raises(InputError, match="sha256.*4c06341c"):
        load_embedder("arcface")


# ----------------------------------------------------------------------------------------------- networks of the user's


@pytest.mark.parametrize("batch", ["faces", 1])
def test_any_onnx_file(tmp_path, batch) -> None:
    write_onnx(tmp_path / "mine.onnx", size=64, batch=batch)
    embedder = load_embedder(tmp_path / "mine.onnx")
    assert embedder.sha256 == hash_file(tmp_path / "mine.onnx")
    assert embedder.metric == "identity_mine" and embedder.convention == Convention(size=64)
    colours = [(1.0, 0.5, 0.0), (0.2, 0.4, 0.9), (0.0, 0.0, 0.3)]
    vectors = embedder(flat(*colours), np.concatenate([INSIDE] * 3))
    np.testing.assert_allclose(
        vectors, [expected_vector(colour, 0.5, 0.5) for colour in colours], atol=3e-3
    )  # 8-bit faces


def test_a_file_of_that_name_is_not_yet_arcface(tmp_path) -> None:
    write_onnx(tmp_path / "arcface.onnx")
    assert load_embedder(tmp_path / "arcface.onnx").metric == "identity_arcface"


def test_an_onnx_file_tells_its_convention(tmp_path) -> None:
    said = {"size": 80, "aligned": False, "channels": "BGR", "mean": 0, "std": 1}
    write_onnx(tmp_path / "mine.onnx", size=None, metadata=json.dumps(said))
    embedder = load_embedder(tmp_path / "mine.onnx")
    assert embedder.convention == Convention(80, False, "BGR", 0.0, 1.0)
    assert "not aligned, 80 x 80, BGR" in str(embedder.convention)
    np.testing.assert_allclose(embedder(flat((0.9, 0.5, 0.1))), [expected_vector((0.1, 0.5, 0.9), 0, 1)], atol=1e-5)


def test_a_convention_may_lie_beside_the_file(tmp_path) -> None:
    write_onnx(tmp_path / "beside.onnx", size=None)
    (tmp_path / "beside.onnx.json").write_text(json.dumps({"size": 72, "aligned": False, "std": 0.25}))
    embedder = load_embedder(tmp_path / "beside.onnx")
    assert embedder.convention == Convention(72, False, "RGB", 0.5, 0.25)
    expected = expected_vector((0.9, 0.5, 0.1), 0.5, 0.25)
    np.testing.assert_allclose(embedder(flat((0.9, 0.5, 0.1))), [expected], atol=1e-5)
    write_onnx(tmp_path / "silent.onnx", size=None)
    assert load_embedder(tmp_path / "silent.onnx").convention == Convention(112, True, "RGB", 0.5, 0.5)


@pytest.mark.parametrize(
    "said",
    [
        '{"sise": 112}',
        '{"size": "112"}',
        '{"channels": "GBR"}',
        '{"size": 0}',
        '{"std": 0}',
        "[1]",
        "{",
        '{"size": 96}',
        "\udcff{}",
    ],
)
def test_a_wrong_convention_is_told(said, tmp_path) -> None:
    write_onnx(tmp_path / "mine.onnx", size=64)
    (tmp_path / "mine.onnx.json").write_bytes(os.fsencode(said))
    with pytest.raises(InputError, match=r"mine\.onnx\.json"):
        load_embedder(tmp_path / "mine.onnx")


def test_what_is_no_face_network_is_told(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file.*openface, arcface"):
        load_embedder("arcfase")
    for name, what in (("a.onnx", "not an ONNX network"), ("a.pt", "ONNX file"), ("a.txt", "ONNX file")):
        (tmp_path / name).write_text("hello")
        with pytest.raises(InputError, match=what):
            load_embedder(tmp_path / name)
    write_onnx(tmp_path / "broken.onnx", size=None, broken=True)
    with pytest.raises(InputError, match=r"does not take \(T, 3, 112, 112\)"):
        load_embedder(tmp_path / "broken.onnx")


def test_a_network_of_another_input_is_told(tmp_path) -> None:
    write_constant_onnx(tmp_path / "none.onnx")
    write_video_onnx(tmp_path / "video.onnx")
    write_onnx(tmp_path / "face.onnx")
    write_video_onnx(tmp_path / "empty.onnx", frames=0)
    for load, names, what in (
        (load_embedder, ("none", "video"), r"a face network has one, \(T, 3, S, S\)"),
        (VideoNetwork, ("none", "face", "empty"), r"a video network has one, \(N, 3, frames, side, side\)"),
    ):
        for name in names:
            with pytest.raises(InputError, match=rf"{name}\.onnx: its inputs are .*; {what}"):
                load(tmp_path / f"{name}.onnx")


def test_no_program_of_a_users_is_run(tmp_path, capfd) -> None:
    script = torch.jit.script(torch.nn.Flatten())
    torch.jit.save(script, str(tmp_path / "net.pt"))
    with pytest.raises(InputError, match="unlike TorchScript runs no code"):
        load_embedder(tmp_path / "net.pt")
