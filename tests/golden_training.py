"""Two production training steps from the golden starting point; shared by the golden tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as L
import torch
from fill import fill_discriminator, fill_model, filled
from torch import Tensor, nn

from fomm.model import DiscriminatorConfig, Output
from fomm.pretrained.vgg19 import Vgg19
from fomm.training.equivariance import ThinPlate, control_points
from fomm.training.losses import LossWeights
from fomm.training.module import Training

LOSS_NAMES = {
    "perceptual": "perceptual",
    "generator_gan": "gen_gan",
    "feature_matching": "feature_matching",
    "equivariance_value": "equivariance_value",
    "equivariance_jacobian": "equivariance_jacobian",
    "discriminator_gan": "disc_gan",
}
DISCRIMINATORS = {
    "vox-adv-256": DiscriminatorConfig(use_keypoints=True),
    "vox-256": DiscriminatorConfig(spectral_norm=True),
    "bair-256": DiscriminatorConfig(spectral_norm=True),
}


@dataclass
class Record(L.Callback):
    """What the two steps did: losses, gradient norms per module, parameter sums after each step."""

    free: dict[str, list[str]]
    losses: list[dict[str, float]] = field(default_factory=list)
    norms: list[dict[str, float]] = field(default_factory=list)
    sums: list[dict[str, float]] = field(default_factory=list)
    buffers: list[dict[str, float]] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        for net, parameters in networks(module).items():
            grads = {k: p.grad for k, p in parameters.items() if p.grad is not None}
            if not grads or (net == "discriminator") != (optimizer.param_groups[0]["name"] == "discriminator"):
                continue
            if net == "generator":
                self.norms.append({})
            for part in ("total", *dict.fromkeys(map(module_of, grads))):
                inside = [g.norm() for k, g in grads.items() if part in ("total", module_of(k))]
                self.norms[-1][f"{net}/{part}"] = float(torch.stack(inside).norm())
            if len(self.norms) == 1:
                self.gradients |= {f"{net}.{k}": g.clone() for k, g in grads.items()}

    def on_train_batch_end(self, trainer, module, *args) -> None:
        logged = trainer.callback_metrics
        self.losses.append({n: float(logged[f"train/{n}"]) for n in LOSS_NAMES if f"train/{n}" in logged})
        self.sums.append(
            {
                net: float(sum(p.detach().double().sum() for k, p in parameters.items() if k not in self.free[net]))
                for net, parameters in networks(module).items()
                if parameters
            }
        )
        model = module.model
        stats = {"generator": [model.dense_motion, model.generator], "kp_detector": [model.detector]}
        self.buffers.append(
            {
                f"{net}/{kind}": float(
                    sum(b.double().sum() for n in nets for k, b in n.named_buffers() if k.endswith(kind))
                )
                for net, nets in stats.items()
                for kind in ("running_mean", "running_var")
            }
        )


def module_of(name: str) -> str:
    """The module that the golden file reports a parameter under."""
    depth = {"discs": 3, "dense_motion_network": 2}.get(name.split(".")[0], 1)
    return ".".join(name.split(".")[:depth])


def networks(module: Training) -> dict[str, dict[str, nn.Parameter]]:
    """Parameters under the original's names."""
    model = module.model
    return {
        "generator": {f"dense_motion_network.{k}": p for k, p in model.dense_motion.named_parameters()}
        | dict(model.generator.named_parameters()),
        "kp_detector": dict(model.detector.named_parameters()),
        "discriminator": dict(module.discriminator.named_parameters()) if module.discriminator else {},
    }


class GoldenTraining(Training):
    """The production module, started from the golden weights and given the golden deformation."""

    golden_deformation: ThinPlate
    record: Record

    def generator_terms(self, source: Tensor, driving: Tensor, deformation: ThinPlate) -> tuple[dict, Output]:
        terms, output = super().generator_terms(source, driving, deformation)
        if not self.record.outputs:
            self.record.outputs = {
                "prediction": output.prediction.detach(),
                "kp_source_value": output.source_keypoints.points.detach(),
                "kp_source_jacobian": output.source_keypoints.jacobians.detach(),
                "kp_driving_value": output.driving_keypoints.points.detach(),
                "kp_driving_jacobian": output.driving_keypoints.jacobians.detach(),
                "occlusion_map": output.motion.occlusion.detach(),
                "transformed_frame": deformation.frame(driving, align_corners=True),
            }
        return terms, output

    def draw_deformation(self, batch: int) -> ThinPlate:
        return self.golden_deformation


class Remembered(nn.Module):
    """Features of pictures that no gradient flows into are computed once: all runs have the same driving frames."""

    known: dict[tuple[torch.dtype, bytes], list[Tensor]] = {}

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, image: Tensor) -> list[Tensor]:
        if torch.is_grad_enabled():
            return self.features(image)
        key = image.dtype, image.numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.features(image)
        return self.known[key]


def vgg19_file(folder: Path) -> Path:
    """VGG-19 with the golden weights, as a file like torchvision's."""
    path = folder / "vgg19.pth"
    torch.save(filled("vgg19", Vgg19().state_dict()), path)
    return path


def run_steps(
    name: str, precision: str, golden: Path, folder: Path, vgg19: Path, *, steps: int
) -> tuple[Record, list[dict]]:
    """Golden training steps of a configuration, through Lightning's Trainer; with what the original did."""
    expected = json.loads((golden / "train_losses_ac1.json").read_text())[name]
    arrays = np.load(golden / "train_ac1.npz")
    module = GoldenTraining(
        discriminator=DISCRIMINATORS[name],
        weights=LossWeights(generator_gan=0.0 if name == "vox-256" else 1.0),
        vgg19_file=str(vgg19),
    )
    module.perceptual.features = Remembered(module.perceptual.features)
    fill_model(module.model)
    if module.discriminator is not None:
        fill_discriminator(module.discriminator)
    module.golden_deformation = ThinPlate(
        torch.from_numpy(arrays["tps_theta"]), control_points(5), torch.from_numpy(arrays["tps_control_params"])[:, 0]
    )
    kind = torch.float64 if precision == "64-true" else torch.float32
    batch = {
        side: torch.from_numpy(arrays[side].astype(np.float64) / 255).permute(0, 3, 1, 2).to(kind)
        for side in ("source", "driving")
    }
    record = Record(
        {net: expected["free_biases"].get(net, []) for net in ("generator", "kp_detector", "discriminator")}
    )
    module.record = record
    trainer = L.Trainer(
        accelerator="cpu",
        precision=precision,
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[record],
        default_root_dir=folder,
    )
    trainer.fit(module, torch.utils.data.DataLoader([batch] * steps, batch_size=None))
    return record, expected["float64" if precision == "64-true" else "float32"]["steps"]
