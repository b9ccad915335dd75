"""nn4.small2: its size and names, its unusual layers against NumPy, and a loader that takes nothing else."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch
from torch import nn

from fomm.download import RemoteFile
from fomm.errors import InputError, MissingWeightsError
from fomm.pretrained import openface
from fomm.pretrained.openface import OpenFace, load_openface


@pytest.fixture(scope="module")
def network() -> OpenFace:
    """Random weights that keep the signal's size, and batch statistics that are not the identity."""
    torch.manual_seed(0)
    network = OpenFace().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    return network


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def weights(network, tmp_path):
    """A file as the port's: saved by a torch of 2017, whose batch norms did not count."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "openface.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def test_it_has_the_published_number_of_parameters(network) -> None:
    # nn4.small2 with 128 outputs, by its definition
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_733_968


def test_parameters_have_the_names_of_the_port(network) -> None:
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {
        "layer1.weight": (64, 3, 7, 7),
        "layer2.running_var": (64,),
        "layer9.weight": (192, 64, 3, 3),
        "layer14.seq_list.0.1_conv.weight": (96, 192, 1, 1),
        "layer14.seq_list.1.4_conv.weight": (32, 16, 5, 5),
        "layer14.seq_list.2.2_conv.weight": (32, 192, 1, 1),
        "layer14.seq_list.3.1_conv.bias": (64,),
        "layer16.seq_list.0.5_bn.running_mean": (256,),
        "layer17.seq_list.2.3_bn.weight": (128,),
        "layer18.seq_list.1.4_conv.weight": (128, 64, 5, 5),
        "layer19.seq_list.1.2_conv.weight": (96, 1024, 1, 1),
        "layer21.seq_list.2.1_conv.weight": (256, 736, 1, 1),
        "layer25.weight": (128, 736),
    }
    assert expected.items() <= shapes.items()
    assert not any(name.startswith(("layer16.seq_list.2", "layer20")) for name in shapes), "a pool alone, a reshape"
    assert {name.split(".")[0] for name in shapes} == {
        f"layer{number}" for number in (1, 2, 6, 7, 9, 10, 14, 15, 16, 17, 18, 19, 21, 25)
    }


def test_output_is_128_numbers_of_length_one_whatever_the_batch(network, faces) -> None:
    with torch.no_grad():
        together = network(faces)
        alone = torch.cat([network(face[None]) for face in faces.flip(0)]).flip(0)
    assert together.shape == (3, 128)
    assert together.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - together[1]).norm() > 1e-3, "different faces"


def test_it_computes_what_the_port_computes() -> None:
    """Golden numbers: the public port (thnkim/OpenFacePytorch, loadOpenFace.py) with these weights, in float64.

    Its normalisation across channels was replaced by torch.nn.CrossMapLRN2d, the same one in today's PyTorch. All 261
    keys were the same, and all 2 x 128 numbers within 2e-8.
    """
    network = OpenFace().eval()
    state = network.state_dict()
    flat = "layer25.weight"  # the formula knows convolutions
    state[flat] = state[flat][..., None, None]
    weights = fill.filled("openface", state)
    weights[flat] = weights[flat].flatten(1)
    network.load_state_dict(weights)
    y, x = np.mgrid[:96, :96] / 96
    colour = np.arange(3)[:, None, None]
    waves = [np.sin(7 * x + 5 * y * (colour + 1) + f) * np.cos(11 * y * (f + 1) - 3 * x) for f in range(2)]
    with torch.no_grad():
        vectors = network.double()(torch.from_numpy(0.5 + 0.5 * np.stack(waves)))
    golden = [
        [-0.03529879, -0.02896362, 0.09577203, 0.03669173, 0.0846847, -0.03212362],
        [-0.02917413, -0.02456027, 0.08822884, 0.03799458, 0.08529074, -0.04185448],
    ]
    np.testing.assert_allclose(vectors[:, :6].numpy(), golden, atol=3e-8)
    np.testing.assert_allclose(vectors.abs().sum(1), [9.353159963579841, 9.31486975754469], atol=1e-6)
    np.testing.assert_allclose(vectors @ torch.arange(128.0).double(), [94.15449699605628, 95.9928660309838], atol=1e-5)


# The layers that PyTorch's names do not tell, as their definitions in Torch 7 have them


def test_normalisation_across_channels(network) -> None:
    x = np.random.default_rng(0).normal(0, 30, (1, 9, 2, 3))
    expected = np.empty_like(x)
    for c in range(9):
        squares = (x[:, max(0, c - 2) : c + 3] ** 2).sum(1)  # five channels, fewer at the ends
        expected[:, c] = x[:, c] / (1 + 1e-4 / 5 * squares) ** 0.75
    np.testing.assert_allclose(network.normalize(torch.from_numpy(x)).numpy(), expected, rtol=1e-6)


def test_energy_pooling_is_the_root_of_the_sum_of_squares(network) -> None:
    x = np.random.default_rng(1).normal(size=(1, 2, 7, 7))
    pooled = network.layer15.seq_list[2][0](torch.from_numpy(x)).numpy()
    assert pooled.shape == (1, 2, 2, 2), "windows of 3 that do not overlap"
    for i in range(2):
        for j in range(2):
            window = x[:, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            np.testing.assert_allclose(pooled[:, :, i, j], np.sqrt((window**2).sum((2, 3))), rtol=1e-6)


def test_smaller_branches_get_a_border_of_zeros_and_the_odd_one_right_and_below() -> None:
    framed = openface.framed(torch.ones(1, 1, 5, 5), 12, 12)[0, 0]
    assert framed[3:8, 3:8].all() and framed.sum() == 25
    block = openface.Inception(4, [(3, 2, 2, 3), (5, 2, 2, 1)], nn.MaxPool2d(3, 2), None, None).eval()
    out = block(torch.rand(1, 4, 12, 12))
    assert out.shape == (1, 3 + 1 + 4, 6, 6)
    assert not out[:, 4:, 5].any() and not out[:, 4:, :, 5].any() and out[:, 4:, 4, 4].all(), "the pool is 5 x 5"


# ------------------------------------------------------------------------------------------------------------- loading


def test_loads_the_port_s_file_by_path_and_from_the_cache(network, faces, weights, monkeypatch) -> None:
    monkeypatch.setenv("FOMM_CACHE", str(weights.parent))
    for loaded in (load_openface(weights), load_openface()):
        assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
        assert torch.equal(loaded(faces), network(faces))


def test_a_modern_file_with_counters_loads_too(network, tmp_path) -> None:
    torch.save(network.state_dict(), tmp_path / "modern.pth")
    load_openface(tmp_path / "modern.pth")


def test_missing_weights_name_file_address_and_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FOMM_CACHE", str(tmp_path / "cache"))
    nobody = "http://127.0.0.1:9/openface.pth"
    monkeypatch.setattr(openface, "OPENFACE", RemoteFile("openface", "openface.pth", mirrors=(nobody,)))
    with pytest.raises(MissingWeightsError) as error:
        load_openface()
    for part in ("openface.pth", nobody, str(tmp_path / "cache" / "openface.pth")):
        assert part in str(error.value)


def test_another_file_is_refused_by_name_of_what_does_not_fit(network, tmp_path) -> None:
    state = network.state_dict()
    state["layer25.weight"] = torch.zeros(64, 736)
    del state["layer1.bias"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r": 2 parameters.*layer1\.bias, layer25\.weight"):
        load_openface(tmp_path / "other.pth")


class Hostile:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize("content", ["code", "page", "list"])
def test_what_is_no_file_of_weights_is_refused(content, tmp_path, capfd) -> None:
    path = tmp_path / "openface.pth"
    if content == "page":
        path.write_text("<!DOCTYPE html><html>quota exceeded</html>")
    else:
        torch.save(Hostile() if content == "code" else [1, 2], path)
    with pytest.raises(InputError, match="not a file of weights"):
        load_openface(path)
    assert "owned" not in capfd.readouterr().out
    with pytest.raises(InputError, match="no such file"):
        load_openface(tmp_path / "nothing.pth")
