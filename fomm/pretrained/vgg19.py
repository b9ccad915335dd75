"""VGG-19's first layers: the features of the perceptual loss."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from fomm.errors import InputError, MissingWeightsError, first_line

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_URL = f"https://download.pytorch.org/models/{VGG19_FILE}"
# torchvision's layer numbers just after relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
VGG19_CUTS = (2, 7, 12, 21, 30)


class Vgg19(nn.Module):
    """VGG-19's first layers, frozen; keys are torchvision's `features.*`.

    Call: (B, 3, H, W) RGB in [0, 1] -> five feature maps, relu1_1 ... relu5_1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers(cfgs["E"][:17])  # to relu5_1
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def pretrained(cls, file: str | Path | None = None) -> Vgg19:
        """torchvision's ImageNet weights, from `file` or torch's cache; never fetched, never random.

        Raises:
            MissingWeightsError: the file is not there; the message says where to get and put it.
            InputError: the file holds something else.
        """
        path = Path(file) if file else Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
        if not path.is_file():
            raise MissingWeightsError(
                f"{path}: the pretrained VGG-19 of the perceptual loss is missing; get {VGG19_URL} (548 MB) and put it "
                "there or name it with --model.vgg19_file, or train without it: --model.perceptual pixels"
            )
        network = cls()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            kept = {key: value for key, value in state.items() if key in network.state_dict()}
            network.load_state_dict(kept, strict=True)
        except Exception as error:  # whatever a damaged pickle raises
            reason = first_line(error)
            raise InputError(f"{path}: not torchvision's VGG-19 weights ({reason}); get {VGG19_URL} again") from error
        return network

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        hidden = (image - self.mean) / self.std
        for start, stop in zip((0, *VGG19_CUTS), VGG19_CUTS, strict=False):
            for layer in self.features[start:stop]:
                hidden = layer(hidden)
            features.append(hidden)
        return features
