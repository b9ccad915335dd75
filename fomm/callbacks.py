"""What happens beside the optimisation: the weights file, faults found, pictures, curves."""

from __future__ import annotations

import math
from pathlib import Path

import pytorch_lightning as L

from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.manifest import manifest_hash
from fomm.training import Training


class WeightsFile(L.Callback):
    """Write the weights that inference needs, without optimiser states, beside the checkpoints: `last` whenever the
    held-out clips were looked at, `best` when their L1 was the lowest so far."""

    def __init__(self, name: str = "weights") -> None:
        self.name = name
        self.best = math.inf

    def on_validation_end(self, trainer: L.Trainer, module: Training) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        error = float(trainer.callback_metrics["val/l1"])
        self._write(trainer, module, "last", error)
        if error < self.best:
            self.best = error
            self._write(trainer, module, "best", error)

    def _write(self, trainer: L.Trainer, module: Training, which: str, error: float) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        data = trainer.datamodule
        save_weights(
            folder / f"{self.name}-{which}.safetensors",
            module.exported,
            category=module.category,
            image_size=data.size,
            provenance={
                "steps": trainer.global_step,
                "val_l1": error,
                "val_l1_ratio": float(trainer.callback_metrics["val/l1_ratio"]),
                "manifest_sha256": manifest_hash(data.manifest),
            },
        )

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best = state["best"]


class Watch(L.Callback):
    """Stop a training that has failed, and say how, rather than train through it."""

    def __init__(self, explosion: float = 20.0, collapse_radius: float = 0.02, patience: int = 100) -> None:
        """
        Args:
            explosion: stop when the loss stays above this many times its lowest running mean.
            collapse_radius: stop when all keypoints stay within this radius ([-1, 1] units).
            patience: for this many steps on end.
        """
        self.explosion, self.collapse_radius, self.patience = explosion, collapse_radius, patience
        self.mean = self.lowest = math.nan
        self.exploded = self.collapsed = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: Training, *_: object) -> None:
        loss = float(trainer.callback_metrics["train/loss"])
        radius = float(trainer.callback_metrics["train/keypoint_radius"])
        step = trainer.global_step
        if not math.isfinite(loss):
            raise InputError(
                f"step {step}: the loss is {loss}; lower the learning rates, set model.clip_gradient_norm or use "
                "precision 32, and go on from the last checkpoint with --ckpt_path"
            )
        self.mean = loss if math.isnan(self.mean) else 0.9 * self.mean + 0.1 * loss
        self.lowest = self.mean if math.isnan(self.lowest) else min(self.lowest, self.mean)
        self.exploded = self.exploded + 1 if self.mean > self.explosion * self.lowest else 0
        self.collapsed = self.collapsed + 1 if radius < self.collapse_radius else 0
        if self.exploded > self.patience:
            raise InputError(
                f"step {step}: the loss exploded (running mean {self.mean:.3g}, it was {self.lowest:.3g}); lower the "
                "learning rates or set model.clip_gradient_norm"
            )
        if self.collapsed > self.patience:
            raise InputError(
                f"step {step}: all keypoints collapsed to one place (radius {radius:.3g}); lower the detector's "
                "learning rate, or raise model.weights.equivariance_value"
            )

    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean, "lowest": self.lowest, "exploded": self.exploded, "collapsed": self.collapsed}

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)
