"""What every training does: keep an average of the weights, judge it on held-out pairs, say what a checkpoint holds.

Held-out errors are logged as `val/l1` and as `val/l1_ratio`, relative to doing nothing; what that is, each training
says. `val/ssim` is the evaluation's. A training begins and ends with looking at them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytorch_lightning as L
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from fomm.checkpoint import Checkpoint
from fomm.checkpoint.architectures import name_of
from fomm.errors import require
from fomm.evaluation import metrics
from fomm.files import hash_file
from fomm.model import FOMM
from fomm.model.face import FaceModel
from fomm.training.data import data_of

Model = TypeVar("Model", FOMM, FaceModel)


class Pictures(NamedTuple):
    """What a model makes of held-out pairs, to look at; all (H, W, 3) uint8 RGB."""

    grid: np.ndarray  # a row for each pair
    clip: list[np.ndarray]  # frames
    fps: Fraction  # of the clip


class BaseTraining(L.LightningModule, Generic[Model]):
    """A subclass says how to step, and what errors are.

    Args:
        clip_gradient_norm: largest gradient norm of each network; None: no limit.
        average_decay: of the average, below 1; None: none is kept.
    """

    model: Model  # what is trained
    average: Model | None  # a running average of its weights; None where none is kept
    category: str  # what is animated, kept in the weights file
    init_sha256: str | None = None  # of the checkpoint that it starts from; None where weights start afresh

    def __init__(self, *, clip_gradient_norm: float | None, average_decay: float | None) -> None:
        """Raises InputError for limits that are none."""
        super().__init__()
        self.automatic_optimization = False
        self.clip_gradient_norm, self.average_decay = norm, decay = clip_gradient_norm, average_decay
        require(norm is None or norm > 0, f"model.clip_gradient_norm {norm}: must be above 0, or null to do without")
        require(
            decay is None or 0 < decay < 1,
            f"model.average_decay {decay}: must be above 0 and below 1, or null to do without",
        )

    def start_from(self, checkpoint: Checkpoint, what: str) -> None:
        """Take the weights that fit, and say which did not."""
        self.init_sha256 = hash_file(checkpoint.path)
        report = checkpoint.initialize(self.model)
        rank_zero_info(f"{what}: {len(report.loaded)} tensors loaded")
        if report.fresh:
            rank_zero_info(f"{what}: these start afresh: {', '.join(report.fresh)}")
        if unused := sorted(set(report.unused) - set(report.fresh)):
            rank_zero_info(f"{what}: these are not used: {', '.join(unused)}")

    def facts(self) -> dict[str, str]:
        """What tells from where it started, for the weights file and the loggers."""
        return {} if self.init_sha256 is None else {"init_sha256": self.init_sha256}

    @property
    def exported(self) -> Model:
        """What validation judges and inference should use: the average, where one is kept."""
        return self.model if self.average is None else self.average

    @abstractmethod
    def pictures(self, held_out: Any, rows: Sequence[int], frames: int) -> Pictures:
        """Show some of the held-out pairs and, of their first clip, at most so many frames."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log and limit gradient norms; here they are unscaled at every precision."""
        for group in optimizer.param_groups:
            norm = nn.utils.get_total_norm([p.grad for p in group["params"] if p.grad is not None])
            self.log(f"gradient_norm/{group['name']}", norm)
            if self.clip_gradient_norm is not None:
                nn.utils.clip_grads_with_norm_(group["params"], self.clip_gradient_norm, norm)

    def descend(self, loss: Tensor, *, critic: bool = False) -> None:
        """A step down a loss (a scalar) of the model's optimiser, the first, or of its critic's, the second; gradients
        that are there already count, too."""
        optimizers = self.optimizers()
        optimizer = optimizers[int(critic)] if isinstance(optimizers, list) else optimizers
        self.manual_backward(loss)
        if critic:  # past Lightning's wrapper, which would count this as another step: one batch is one step
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None)
        else:
            optimizer.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None or self.average_decay is None:
            return
        # Early on, the average is short: the untrained start is soon forgotten.
        decay = min(self.average_decay, self.global_step / (self.global_step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        for mine, current in zip(self.average.buffers(), self.model.buffers(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(current, 1 - decay)
            else:
                mine.copy_(current)

    def on_train_start(self) -> None:
        """Look at the held-out pairs before the first step."""
        if self.global_step == 0 and self.trainer.enable_validation:
            self.trainer.validating = True
            self.trainer.fit_loop.epoch_loop.val_loop.run()
            self.trainer.training = True

    def on_train_batch_end(self, *_: object) -> None:
        """End with looking at the held-out pairs, wherever in an epoch, or among epochs that are not looked at."""
        trainer = self.trainer
        last_epoch = trainer.current_epoch + 1 == trainer.max_epochs and trainer.is_last_batch
        if self.global_step == trainer.max_steps or last_epoch:
            trainer.should_stop, trainer.check_val_every_n_epoch = True, 1

    def on_validation_epoch_start(self) -> None:
        self._held_out = torch.zeros(4, dtype=torch.float64)

    def count_held_out(self, prediction: Tensor, truth: Tensor, error: Tensor, unchanged: Tensor) -> None:
        """Take down held-out pairs (B, 3, H, W), and their mean errors, of the model and of doing nothing."""
        similarity = metrics.average(metrics.ssim_map(prediction.float(), truth.float())).mean()
        means = [value.double().cpu() for value in (error, unchanged, similarity, torch.ones(()))]
        self._held_out += len(truth) * torch.stack(means)

    def on_validation_epoch_end(self) -> None:
        """Log the held-out L1, its ratio to that of doing nothing, and SSIM."""
        total = self.trainer.strategy.reduce(self._held_out.to(self.device, torch.float32), reduce_op="sum")
        error, unchanged, similarity, count = total.tolist()
        self.log("val/l1", error / count, prog_bar=True)
        self.log("val/l1_ratio", error / unchanged, prog_bar=True)
        self.log("val/ssim", similarity / count)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add what `fomm.checkpoint` needs to load the model from a run's own checkpoint."""
        checkpoint["model_config"] = asdict(self.model.config)
        checkpoint["fomm"] = {
            "architecture": name_of(self.model),
            "category": self.category,
            "image_size": data_of(self.trainer).size,
        }
        # Lightning counts the step that loggers see up after validation. Going on from a checkpoint that was saved in
        # it, it makes up for that at the end of an epoch, but not within one.
        loop = self.trainer.fit_loop.epoch_loop
        if self.trainer.validating and not loop.batch_progress.is_last_batch:
            checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = self.global_step


@contextmanager
def frozen(network: nn.Module | None) -> Iterator[None]:
    """For the length of a block, let no gradient into a network (gradients still pass through it)."""
    if network is not None:
        network.requires_grad_(False)
    try:
        yield
    finally:
        if network is not None:
            network.requires_grad_(True)


def parameter_group(name: str, networks: Iterable[nn.Module], learning_rate: float) -> dict:
    """A group of an optimiser: what of these networks is to learn; its name is that of its logged numbers."""
    params = [p for network in networks for p in network.parameters() if p.requires_grad]
    # torch's name for the rate that schedules start from: the original's need it to go on from a checkpoint
    return {"name": name, "params": params, "lr": learning_rate, "initial_lr": learning_rate}
