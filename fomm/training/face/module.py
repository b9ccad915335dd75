"""The LightningModule of model `face`: it optimises the generator, and a critic if there is one, and logs. The
mathematics is in `losses`."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.utils.data import default_collate

from fomm.checkpoint import Checkpoint
from fomm.errors import InputError, require
from fomm.model.face import FaceConfig, FaceModel
from fomm.model.face.generator import support
from fomm.training.base import BaseTraining, Pictures, frozen, parameter_group
from fomm.training.face.critic import Critic
from fomm.training.face.data import HeldOutPatches
from fomm.training.face.losses import FaceLossWeights, critic_hinge, critic_terms, important_l1, terms
from fomm.training.losses import total
from fomm.training.snapshots import head_animation, patch_snapshot

CRITIC_LEAD = 100  # steps that the critic learns before the generator listens to it
CLIP_FPS = Fraction(2)  # of the frames of a head, which do not follow one another


class FaceTraining(BaseTraining[FaceModel]):
    """Train the generator of a `FaceModel` on patches that the warp makes of one frame of a head for another.

    Batches: {"patch", "conditions", "target"}, see `fomm.training.face.patches.Pair`.
    """

    category = "face"

    def __init__(
        self,
        *,
        network: FaceConfig | None = None,
        weights: FaceLossWeights = FaceLossWeights(),  # noqa: B008 - frozen
        learning_rate: float = 1e-3,
        critic_learning_rate: float = 3e-4,
        weight_decay: float = 1e-3,
        warmup_steps: int = 200,
        clip_gradient_norm: float | None = None,
        average_decay: float | None = None,
        init: str | None = None,
        seed: int = 0,
    ):
        """
        Args:
            network: size of the generator; by default that of `init`, else that of the model in the package.
            weights: how much each loss counts.
            learning_rate: of the generator's AdamW. It rises from 0 over `warmup_steps`; in the second half of the
                training it falls to 0 along half a cosine.
            critic_learning_rate: of the critic's Adam, the same all along.
            weight_decay: of the generator's AdamW.
            warmup_steps: see `learning_rate`.
            clip_gradient_norm: largest gradient norm of each network; no limit by default.
            average_decay: keep a running average of the weights (0.998, say), validate and export it.
            init: start from this checkpoint's weights, a known name or a file.
            seed: of the initial weights.
        """
        super().__init__(clip_gradient_norm=clip_gradient_norm, average_decay=average_decay)
        rates = {"learning_rate": learning_rate, "critic_learning_rate": critic_learning_rate}
        for name, value in (rates | {"weight_decay": weight_decay, "warmup_steps": warmup_steps}).items():
            require(value >= 0, f"model.{name} {value}: must be at least 0")
        start = None if init is None else Checkpoint.read(init)
        if network is None:
            network = FaceConfig() if start is None else start.model_of(FaceModel).config
        require(network.width >= 1, f"model.network.width {network.width}: must be at least 1; give 48, say")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self.model = FaceModel(network)
                self.critic = Critic() if weights.adversarial or weights.features else None
            except (ValueError, RuntimeError, ZeroDivisionError) as error:
                raise InputError(f"model.network.width {network.width}: impossible ({error}); give 48, say") from error
        if start is not None:
            self.start_from(start, f"init {init}")
        self.average = copy.deepcopy(self.model).requires_grad_(False) if average_decay else None
        self.weights = weights
        self.learning_rate, self.critic_learning_rate = learning_rate, critic_learning_rate
        self.weight_decay, self.warmup_steps = weight_decay, warmup_steps

    # ---- one step -------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.zero_grad()
        patch, conditions, target = batch["patch"], batch["conditions"], batch["target"]
        factor = rate_factor(self.global_step, steps=self._steps, warmup_steps=self.warmup_steps)
        self.trainer.optimizers[0].param_groups[0]["lr"] = factor * self.learning_rate
        output = self.model.generator(patch, conditions)
        losses = terms(output, conditions[:, :1], target, self.weights)
        # What the warp makes around the mouth is not the generator's: the critic sees the same of it on both sides.
        real = torch.lerp(patch, target, support(conditions[:, :1]))
        if self.critic is not None and self.global_step >= CRITIC_LEAD:
            with frozen(self.critic):
                judged, judged_real = self.critic(output.prediction, conditions), self.critic(real, conditions)
                losses |= critic_terms(judged, judged_real, self.weights)
        loss = total(losses.values())
        self.descend(loss)
        if self.critic is not None:
            judged, judged_real = self.critic(output.prediction.detach(), conditions), self.critic(real, conditions)
            losses["critic"] = critic_hinge(judged, judged_real)
            self.descend(losses["critic"], critic=True)
        self._update_average()
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("learning_rate/generator", factor * self.learning_rate)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        steps = self.trainer.estimated_stepping_batches
        require(math.isfinite(steps), "trainer.max_steps: the training has no end; set it, or trainer.max_epochs")
        self._steps = int(steps)
        group = parameter_group("generator", [self.model], self.learning_rate)
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([group], betas=(0.9, 0.99), weight_decay=self.weight_decay)
        ]
        if self.critic is not None:
            group = parameter_group("critic", [self.critic], self.critic_learning_rate)
            optimizers.append(torch.optim.Adam([group], betas=(0.5, 0.99)))
        return optimizers

    # ---- validation -----------------------------------------------------------------------------------------------

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Errors are `important_l1`; doing nothing is to leave the patch as the warp makes it."""
        patch, conditions, target = batch["patch"], batch["conditions"], batch["target"]
        prediction = self.exported.generator(patch, conditions).prediction
        error, unchanged = (important_l1(picture, target, conditions[:, :1]) for picture in (prediction, patch))
        self.count_held_out(prediction, target, error, unchanged)

    def pictures(self, held_out: HeldOutPatches, rows: Sequence[int], frames: int) -> Pictures:
        model = copy.deepcopy(self.exported).cpu().float()
        batch = default_collate([held_out[row] for row in rows])
        head = held_out.head(0)
        clip = head_animation(model, head.frames[:frames], head.mesh[:frames])
        return Pictures(patch_snapshot(model, **batch), clip, CLIP_FPS)


def rate_factor(step: int, *, steps: int, warmup_steps: int) -> float:
    """What the learning rate is multiplied by at this step (from 0) of `steps`.

    >>> [round(rate_factor(step, steps=8, warmup_steps=2), 3) for step in range(9)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    fallen = min(1.0, max(0.0, 2 * step / steps - 1))
    return rise * 0.5 * (1 + math.cos(math.pi * fallen))
