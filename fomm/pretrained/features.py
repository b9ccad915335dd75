"""The learned features of LPIPS and FID, with weights from torch's cache; nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
from torchmetrics.image.fid import NoTrainInceptionV3

from fomm.errors import InputError, MissingWeightsError, first_line
from fomm.pretrained.files import read_weights

T = TypeVar("T")

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_URL = f"https://download.pytorch.org/models/{ALEXNET_FILE}"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"


def load_lpips(device: torch.device | str = "cpu") -> Callable[[Tensor, Tensor], Tensor]:
    """The network of `Lpips`: AlexNet from torch's cache, the layers on top from torchmetrics; nothing is fetched.

    Raises MissingWeightsError, which says where to get and put AlexNet, or InputError where its file holds something
    else.
    """
    network = _from_cache(
        *(ALEXNET_FILE, ALEXNET_URL, "the AlexNet of LPIPS", "233 MB"),
        lambda path: LearnedPerceptualImagePatchSimilarity("alex", normalize=True).net.to(device),
    )
    return lambda prediction, truth: network(prediction, truth, normalize=True).flatten()


def load_inception(device: torch.device | str = "cpu") -> nn.Module:
    """The network of `Fid`: (T, 3, H, W) uint8 -> (T, 2048); torch-fidelity's Inception-v3 from torch's cache.

    Raises as `load_lpips`.
    """
    return _from_cache(
        *(INCEPTION_FILE, INCEPTION_URL, "the Inception-v3 of FID", "95 MB"),
        lambda path: NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device),
    )


def _from_cache(file: str, url: str, what: str, size: str, make: Callable[[Path], T]) -> T:
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise MissingWeightsError(f"{path}: {what} is missing; get {url} ({size}) and put it there")
    read_weights(path, url)  # the libraries would run what the file says
    try:
        return make(path)
    except Exception as error:  # each library has its own for weights of another network
        raise InputError(f"{path}: not {what} ({first_line(error)}); get {url} again") from error
