"""The LightningModule: draws the random deformation, steps the optimisers, logs. The mathematics is in `losses`.

Two optimisers, each an Adam: one for the model, with the keypoint detector and the generator (dense motion included)
as groups of their own learning rate, one for the discriminator, stepped after it. Adam keeps its state per parameter,
so this equals the original's three.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from fomm.checkpoint import Checkpoint
from fomm.errors import InputError, require
from fomm.known import CATEGORIES
from fomm.model import FOMM, DiscriminatorConfig, ModelConfig, Output
from fomm.model.geometry import Keypoints
from fomm.training.base import BaseTraining, Pictures, frozen, parameter_group
from fomm.training.data import HeldOutPairs, data_of
from fomm.training.equivariance import ThinPlate
from fomm.training.losses import (
    LossWeights,
    PerceptualName,
    collapse_radius,
    discriminator_gan,
    equivariance,
    feature_matching,
    generator_gan,
    l1_loss,
    make_perceptual,
    total,
)
from fomm.training.snapshots import animation, snapshot
from fomm.training.sync_batch_norm import synchronise

Part = Literal["detector", "dense_motion", "generator"]


@dataclass(frozen=True)
class LearningRates:
    """Adam's step sizes and how they fall.

    Attributes:
        generator: of the generator and the dense motion network.
        detector: of the keypoint detector; 0 keeps it (its batch-norm statistics still move, as in the original).
        discriminator: of the discriminator.
        milestones: epochs at whose end all rates are multiplied by `gamma`.
        gamma: see `milestones`.
        warmup_steps: the rates rise linearly from 0 over this many steps.
        cosine_steps: the rates fall to 0 along half a cosine over this many steps; none by default.
    """

    generator: float = 2e-4
    detector: float = 2e-4
    discriminator: float = 2e-4
    milestones: Sequence[int] = ()
    gamma: float = 0.1
    warmup_steps: int = 0
    cosine_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("generator", "detector", "discriminator", "gamma", "warmup_steps", "cosine_steps"):
            value = getattr(self, name) or 0
            require(value >= 0, f"model.learning_rates.{name} {value}: must be at least 0")

    def factor(self, *, step: int, epoch: int) -> float:
        """What all rates are multiplied by at this step (from 0) of this epoch (from 0)."""
        factor = self.gamma ** sum(milestone <= epoch for milestone in self.milestones)
        if step < self.warmup_steps:
            factor *= (step + 1) / self.warmup_steps
        if self.cosine_steps:
            factor *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.cosine_steps)))
        return factor


@dataclass(frozen=True)
class Deformation:
    """The random thin-plate deformation of the equivariance losses.

    Attributes:
        sigma_affine: standard deviation of the affine part's six numbers.
        sigma_tps: standard deviation of the control points' weights.
        points: control points per side.
    """

    sigma_affine: float = 0.05
    sigma_tps: float = 0.005
    points: int = 5

    def __post_init__(self) -> None:
        require(self.points >= 2, f"model.deformation.points {self.points}: must be at least 2")


class Training(BaseTraining[FOMM]):
    """Train a FOMM on (source, driving) pairs of one clip.

    Batches: {"source", "driving"}, each (B, 3, H, W) in [0, 1].
    """

    init_size: int | None = None  # side of the frames that the checkpoint in `init` was trained on

    def __init__(
        self,
        *,
        network: ModelConfig | None = None,
        num_keypoints: int | None = None,
        discriminator: DiscriminatorConfig = DiscriminatorConfig(),  # noqa: B008 - frozen, as all defaults here
        weights: LossWeights = LossWeights(),  # noqa: B008
        perceptual: PerceptualName = "vgg19",
        vgg19_file: str | None = None,
        scales: Sequence[float] = (1.0, 0.5, 0.25, 0.125),
        deformation: Deformation = Deformation(),  # noqa: B008
        learning_rates: LearningRates = LearningRates(),  # noqa: B008
        clip_gradient_norm: float | None = None,
        average_decay: float | None = None,
        init: str | None = None,
        freeze: Sequence[Part] = (),
        channels_last: bool = False,
        compile: bool = False,
        category: str = "unknown",
        seed: int = 0,
    ):
        """
        Args:
            network: sizes of the trained networks; by default those of `init`, else those of the released models.
            num_keypoints: another number of keypoints than the checkpoint in `init` has (some tensors start afresh).
            discriminator: size of the discriminator; not built when `weights.generator_gan` is 0.
            weights: how much each loss counts.
            perceptual: features that are compared: "vgg19" (pretrained weights needed) or "pixels" (colours and
                their differences; no pretrained weights).
            vgg19_file: torchvision's vgg19-dcbb9e9d.pth; torch's cache by default.
            scales: of the image pyramid in the perceptual loss.
            deformation: strength of the random deformation in the equivariance losses.
            learning_rates: of the three networks, and their schedule.
            clip_gradient_norm: largest gradient norm of each network; no limit by default.
            average_decay: keep a running average of the weights (0.999, say), validate and export it.
            init: start from this checkpoint's weights (any file that the loader knows, any resolution).
            freeze: parts that stay as they are.
            channels_last: memory layout that is faster for convolutions in bfloat16 and on GPUs.
            compile: compile the networks with torch.compile.
            category: what is animated ("face", "body", "robot", "animal"), kept in the weights file.
            seed: of the initial weights and the random deformations.
        """
        super().__init__(clip_gradient_norm=clip_gradient_norm, average_decay=average_decay)
        require(0 <= seed < 2**31, f"model.seed {seed}: must be at least 0 and below 2^31")
        require(category in CATEGORIES, f"model.category {category!r}: must be one of {', '.join(CATEGORIES)}")
        start = None if init is None else Checkpoint.read(init)
        if network is None:
            network = ModelConfig() if start is None else start.model_of(FOMM).config
        if num_keypoints is not None:
            network = replace(network, num_keypoints=num_keypoints)
        require(network.num_keypoints >= 1, f"num_keypoints {network.num_keypoints}: must be at least 1")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self.model = FOMM.from_config(network)
                self.discriminator = discriminator.build(network) if weights.generator_gan else None
            except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
                raise InputError(f"model.network or model.discriminator: impossible sizes ({error})") from error
        if start is not None:
            self.start_from(start, f"init {init}")
        self.perceptual = make_perceptual(perceptual, scales=scales, weights=weights.perceptual, vgg19_file=vgg19_file)
        if self.discriminator is not None and len(weights.feature_matching) != discriminator.num_blocks:
            raise InputError(
                f"model.weights.feature_matching {list(weights.feature_matching)}: needs one weight for each of the "
                f"discriminator's {discriminator.num_blocks} blocks"
            )
        self.average = copy.deepcopy(self.model).requires_grad_(False) if average_decay else None
        self.weights = weights
        self.deformation = deformation
        self.learning_rates = learning_rates
        self.freeze_parts = tuple(freeze)
        self.category = category
        self.seed = seed
        for part in self.freeze_parts:
            getattr(self.model, part).requires_grad_(False)
        synchronise(self.model)
        if channels_last:
            self.to(memory_format=torch.channels_last)
        self.channels_last = channels_last
        if compile:
            self.model.compile()
            if self.discriminator is not None:
                self.discriminator.compile()
        self.train()

    def start_from(self, checkpoint: Checkpoint, what: str) -> None:
        super().start_from(checkpoint, what)
        self.init_size = checkpoint.model().info.image_size
        if self.discriminator is None:
            return
        theirs = checkpoint.training_state().discriminator
        own = self.discriminator.state_dict()
        if theirs is None:
            rank_zero_info(f"{what}: it has no discriminator; discriminator and optimisers start afresh")
        elif {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in own.items()}:
            self.discriminator.load_state_dict(theirs)
            rank_zero_info(f"{what}: its discriminator goes on; optimisers start afresh")
        else:
            rank_zero_info(f"{what}: its discriminator is of another kind; a fresh one and fresh optimisers start")

    def setup(self, stage: str) -> None:
        if data_of(self.trainer) is None:  # a run may have loaders instead
            return
        size, stride = data_of(self.trainer).size, self.model.stride
        require(size % stride == 0, f"data.size {size}: must be a multiple of {stride} for these networks")
        if self.init_size not in (None, size):
            rank_zero_info(
                f"warning: data.size {size}, but init was trained at {self.init_size}: its motion networks see a frame "
                f"shrunk by a fixed factor, so they start worse at another size; set data.size {self.init_size}, or "
                "train until val/l1_ratio says that it has learnt"
            )

    def train(self, mode: bool = True) -> Training:
        super().train(mode)
        self.perceptual.eval()
        if self.average is not None:
            self.average.eval()
        for part in self.freeze_parts:  # frozen batch norms neither learn nor follow the new data
            getattr(self.model, part).eval()
        return self

    # ---- one step -------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.zero_grad()
        source, driving = self._layout(batch["source"]), self._layout(batch["driving"])
        self._set_learning_rates()
        deformation = self.draw_deformation(len(driving)).to(driving)
        # The generator's losses flow through the discriminator, not into it.
        with frozen(self.discriminator):
            terms, output = self.generator_terms(source, driving, deformation)
            self.descend(total(terms.values()))
        if self.discriminator is not None:
            critic_terms = self.discriminator_terms(driving, output)
            self.descend(total(critic_terms.values()), critic=True)
            terms |= critic_terms
        self._update_average()
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()})
        self.log("train/loss", total(term.detach() for term in terms.values()), prog_bar=True)
        self.log("train/keypoint_radius", collapse_radius(output.driving_keypoints.points.detach()))

    def generator_terms(
        self, source: Tensor, driving: Tensor, deformation: ThinPlate
    ) -> tuple[dict[str, Tensor], Output]:
        """The losses of the model, weighted, and the output that they judge."""
        weights = self.weights
        output = self.model(source, driving)
        terms = {"perceptual": self.perceptual(output.prediction, driving)}
        if self.discriminator is not None:
            seen_keypoints = _detached(output.driving_keypoints)
            predicted = self.discriminator(output.prediction, seen_keypoints)
            real = self.discriminator(driving, seen_keypoints)
            terms["generator_gan"] = weights.generator_gan * generator_gan(predicted)
            if any(weights.feature_matching):
                terms["feature_matching"] = feature_matching(predicted, real, weights.feature_matching)
        if weights.equivariance_value or weights.equivariance_jacobian:
            align_corners = self.model.config.align_corners
            transformed = self.model.detect(deformation.frame(driving, align_corners=align_corners))
            value, jacobian = equivariance(output.driving_keypoints, transformed, deformation)
            if weights.equivariance_value:
                terms["equivariance_value"] = weights.equivariance_value * value
            if weights.equivariance_jacobian:
                terms["equivariance_jacobian"] = weights.equivariance_jacobian * jacobian
        return terms, output

    def discriminator_terms(self, driving: Tensor, output: Output) -> dict[str, Tensor]:
        """The loss of the discriminator on the prediction from before the model's update."""
        assert self.discriminator is not None, "only its optimiser asks for it"
        seen_keypoints = _detached(output.driving_keypoints)
        predicted = self.discriminator(output.prediction.detach(), seen_keypoints)
        real = self.discriminator(driving, seen_keypoints)
        return {"discriminator_gan": self.weights.discriminator_gan * discriminator_gan(predicted, real)}

    def draw_deformation(self, batch: int) -> ThinPlate:
        """This step's random deformations: a function of seed and step; each process takes its part of them."""
        generator = torch.Generator().manual_seed((self.seed << 32) + self.global_step)
        d = self.deformation
        drawn = ThinPlate.random(batch * self.trainer.world_size, d.sigma_affine, d.sigma_tps, d.points, generator)
        mine = slice(self.global_rank * batch, (self.global_rank + 1) * batch)
        return ThinPlate(drawn.theta[mine], drawn.control_points, drawn.control_params[mine])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        rates = self.learning_rates
        groups = [
            parameter_group("generator", [self.model.dense_motion, self.model.generator], rates.generator),
            parameter_group("detector", [self.model.detector], rates.detector),
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise InputError("model.freeze: nothing is left to train; freeze fewer parts")
        # One pass over the weights instead of ten. Not on GPUs: with float16 a fused Adam would unscale the gradients
        # itself, after their norms are taken.
        adam = partial(torch.optim.Adam, betas=(0.5, 0.999), fused=self.device.type == "cpu")
        optimizers: list[torch.optim.Optimizer] = [adam(groups)]
        if self.discriminator is not None:
            critic = parameter_group("discriminator", [self.discriminator], rates.discriminator)
            optimizers.append(adam([critic]))
        return optimizers

    def _set_learning_rates(self) -> None:
        factor = self.learning_rates.factor(step=self.global_step, epoch=self.current_epoch)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * getattr(self.learning_rates, group["name"])
                self.log(f"learning_rate/{group['name']}", group["lr"])

    def _layout(self, frame: Tensor) -> Tensor:
        return frame.contiguous(memory_format=torch.channels_last) if self.channels_last else frame

    # ---- validation -----------------------------------------------------------------------------------------------

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Doing nothing is to show the source unchanged; a ratio below 1: motion is learnt."""
        source, driving = self._layout(batch["source"]), self._layout(batch["driving"])
        prediction = self.exported(source, driving).prediction
        self.count_held_out(prediction, driving, l1_loss(prediction, driving), l1_loss(source, driving))
        return {"prediction": prediction, "truth": driving}

    def pictures(self, held_out: HeldOutPairs, rows: Sequence[int], frames: int) -> Pictures:
        pairs = [held_out[row] for row in rows]
        source, driving = (torch.stack([p[side] for p in pairs]).to(self.device) for side in ("source", "driving"))
        clip = held_out.clip(0, frames).to(self.device)
        # The first clip animates another identity, where there is one.
        moved = animation(self.exported, source[-1], clip)
        return Pictures(snapshot(self.exported, source, driving), moved, held_out.items[0][0].fps)


def _detached(keypoints: Keypoints) -> Keypoints:
    return Keypoints(*(part.detach() for part in keypoints))
