"""OpenFace's nn4.small2 (Amos et al. 2016): a face -> 128 numbers of length 1; the network of the published AED.

FaceNet's NN4 with fewer layers, as its definition `nn4.small2.def.lua` (cmusatyalab/openface) states it. Parameters
have the names of the PyTorch port whose weights file the original authors' evaluation uses (thnkim/OpenFacePytorch,
`openface.pth`): `layer<position>`, and `seq_list.<branch>.<position>_<kind>` inside an inception block.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fomm.download import RemoteFile, fetch
from fomm.errors import InputError
from fomm.pretrained.files import read_weights

OPENFACE = RemoteFile(
    "openface",
    "openface.pth",
    mirrors=("https://raw.githubusercontent.com/thnkim/OpenFacePytorch/master/openface.pth",),
)
"""The weights file; its hash is published nowhere that we know of."""


def _unit(inputs: int, outputs: int, kernel: int, stride: int, first: int) -> dict[str, nn.Module]:
    """Convolution, batch norm, ReLU, named by their position in a branch."""
    return {
        f"{first}_conv": nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2),
        f"{first + 1}_bn": nn.BatchNorm2d(outputs),
        f"{first + 2}_relu": nn.ReLU(),
    }


class Inception(nn.Module):
    """Parallel branches over the same features, joined by channel; smaller ones get a border of zeros.

    Call: (B, inputs, H, W) -> (B, sum of the branches' outputs, h, w).

    Args:
        inputs: channels in.
        branches: (kernel, stride, reduced, outputs) of each branch "1x1 convolution, then kernel x kernel".
        pool: the pooling of the next branch.
        pooled: channels that a 1x1 convolution makes of it; None: there is none.
        direct: channels of the last branch, a 1x1 convolution; None: there is none.
    """

    def __init__(
        self,
        inputs: int,
        branches: Sequence[tuple[int, int, int, int]],
        pool: nn.Module,
        pooled: int | None,
        direct: int | None,
    ) -> None:
        super().__init__()
        parts = [
            _unit(inputs, reduced, 1, 1, 1) | _unit(reduced, outputs, kernel, stride, 4)
            for kernel, stride, reduced, outputs in branches
        ]
        parts.append({"1_pool": pool} | (_unit(inputs, pooled, 1, 1, 2) if pooled else {}))
        if direct:
            parts.append(_unit(inputs, direct, 1, 1, 1))
        self.seq_list = nn.ModuleList(nn.Sequential(OrderedDict(part)) for part in parts)

    def forward(self, features: Tensor) -> Tensor:
        outputs = [branch(features) for branch in self.seq_list]
        height, width = (max(output.shape[side] for output in outputs) for side in (2, 3))
        return torch.cat([framed(output, height, width) for output in outputs], 1)


def framed(features: Tensor, height: int, width: int) -> Tensor:
    """Zeros around; where their number is odd, one more at the right and the bottom."""
    y, x = height - features.shape[2], width - features.shape[3]
    return F.pad(features, (x // 2, x - x // 2, y // 2, y - y // 2))


class OpenFace(nn.Module):
    """Call: (B, 3, 96, 96) in [0, 1] -> (B, 128), rows of length 1; channels in the order that the user of it wants.

    OpenFace itself feeds it RGB of an aligned face; see `embedders` for what the original authors' AED feeds it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.layer2 = nn.BatchNorm2d(64)
        self.layer6 = nn.Conv2d(64, 64, 1)
        self.layer7 = nn.BatchNorm2d(64)
        self.layer9 = nn.Conv2d(64, 192, 3, 1, 1)
        self.layer10 = nn.BatchNorm2d(192)
        maximum, energy = nn.MaxPool2d(3, 2), nn.LPPool2d(2, 3, 3)
        self.layer14 = Inception(192, [(3, 1, 96, 128), (5, 1, 16, 32)], maximum, 32, 64)
        self.layer15 = Inception(256, [(3, 1, 96, 128), (5, 1, 32, 64)], energy, 64, 64)
        self.layer16 = Inception(320, [(3, 2, 128, 256), (5, 2, 32, 64)], maximum, None, None)
        self.layer17 = Inception(640, [(3, 1, 96, 192), (5, 1, 32, 64)], energy, 128, 256)
        self.layer18 = Inception(640, [(3, 2, 160, 256), (5, 2, 64, 128)], maximum, None, None)
        self.layer19 = Inception(1024, [(3, 1, 96, 384)], energy, 96, 256)
        self.layer21 = Inception(736, [(3, 1, 96, 384)], maximum, 96, 256)
        self.layer25 = nn.Linear(736, 128)
        self.normalize = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)

    def forward(self, faces: Tensor) -> Tensor:
        hidden = F.relu(self.layer2(self.layer1(faces)))
        hidden = self.normalize(F.max_pool2d(hidden, 3, 2, 1))
        hidden = F.relu(self.layer7(self.layer6(hidden)))
        hidden = F.relu(self.layer10(self.layer9(hidden)))
        hidden = F.max_pool2d(self.normalize(hidden), 3, 2, 1)  # (B, 192, 12, 12)
        for number in (14, 15, 16, 17, 18, 19, 21):
            hidden = getattr(self, f"layer{number}")(hidden)
        hidden = F.avg_pool2d(hidden, 3).flatten(1)  # (B, 736)
        return F.normalize(self.layer25(hidden))


def load_openface(path: str | Path | None = None) -> OpenFace:
    """The network with its published weights, for inference.

    Args:
        path: the weights file; None: `openface.pth` in the cache folder, fetched into it once.

    Raises:
        MissingWeightsError: not given, not here and not to be fetched; says where to get and put it.
        InputError: the file is missing, or is something else; names the parameters that do not fit.
    """
    file = Path(path).expanduser() if path else fetch(OPENFACE)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give OpenFace's weights (openface.pth), or leave the path out")
    state = read_weights(file, OPENFACE.mirrors[0])
    network = OpenFace()
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]  # newer than the file
    expected = {name: value.shape for name, value in network.state_dict().items() if name not in counters}
    found = {name: getattr(value, "shape", None) for name, value in state.items() if name not in counters}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise InputError(
            f"{file}: not the weights of OpenFace nn4.small2: {len(wrong)} parameters are missing, "
            f"unknown or of another size (first: {', '.join(wrong[:3])}); get {OPENFACE.mirrors[0]}"
        )
    network.load_state_dict(state, strict=False)  # only the counters may be missing
    return network.eval().requires_grad_(False)
