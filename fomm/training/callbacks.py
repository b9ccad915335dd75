"""What happens beside the optimisation: the weights file, faults found, pictures, curves."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytorch_lightning as L
from matplotlib.figure import Figure
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary

from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.training.base import BaseTraining
from fomm.training.data import data_of
from fomm.video import VideoWriter, write_image


class WeightsFile(L.Callback):
    """The weights that inference needs, without optimiser states, beside the checkpoints.

    `last` is written whenever the held-out clips were looked at, `best` when their L1 was the lowest so far.
    """

    def __init__(self, name: str = "weights") -> None:
        """
        Args:
            name: the files are NAME-last.safetensors and NAME-best.safetensors.
        """
        self.name = name
        self.best = math.inf
        self.written_at = -1

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        error = float(trainer.callback_metrics["val/l1"])
        self._write(trainer, module, "last", error)
        self.written_at = trainer.global_step
        if error < self.best:
            self.best = error
            self._write(trainer, module, "best", error)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """A run that ends between two validations leaves its last weights, too."""
        if trainer.is_global_zero and self.written_at != trainer.global_step:
            self._write(trainer, module, "last", None)
        for logger in trainer.loggers:
            # Lightning's own `log_model` refuses to work offline.
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                import wandb  # takes two seconds, and is not needed for --help

                files = [*run_folder(trainer).glob("*.safetensors"), *run_folder(trainer).glob("checkpoints/*.ckpt")]
                artifact = wandb.Artifact(f"model-{logger.version}", "model")
                for file in files:
                    artifact.add_file(str(file))
                logger.experiment.log_artifact(artifact)

    def _write(self, trainer: L.Trainer, module: L.LightningModule, which: str, error: float | None) -> None:
        assert isinstance(module, BaseTraining)
        data = data_of(trainer)
        scores = (
            {} if error is None else {"val_l1": error, "val_l1_ratio": float(trainer.callback_metrics["val/l1_ratio"])}
        )
        save_weights(
            run_folder(trainer) / f"{self.name}-{which}.safetensors",
            module.exported,
            category=module.category,
            image_size=data.size,
            provenance={
                "steps": trainer.global_step,
                **scores,
                **data.facts(),
            },
        )

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best = state["best"]


class LossWatch(L.Callback):
    """Stop a training that has failed, and say how, rather than train through it."""

    def __init__(self, explosion: float = 20.0, patience: int = 100) -> None:
        """
        Args:
            explosion: stop when the loss stays above this many times its lowest running mean.
            patience: for this many steps on end.
        """
        self.explosion, self.patience = explosion, patience
        self.mean = self.lowest = math.nan
        self.exploded = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        loss = float(trainer.callback_metrics["train/loss"])
        step = trainer.global_step
        if not math.isfinite(loss):
            raise InputError(
                f"step {step}: the loss is {loss}; lower the learning rates, set model.clip_gradient_norm or use "
                "precision 32, and go on from the last checkpoint with --ckpt_path"
            )
        self.mean = loss if math.isnan(self.mean) else 0.9 * self.mean + 0.1 * loss
        self.lowest = self.mean if math.isnan(self.lowest) else min(self.lowest, self.mean)
        self.exploded = self.exploded + 1 if self.mean > self.explosion * self.lowest else 0
        if self.exploded > self.patience:
            raise InputError(
                f"step {step}: the loss exploded (running mean {self.mean:.3g}, it was {self.lowest:.3g}); lower the "
                "learning rates or set model.clip_gradient_norm"
            )

    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean, "lowest": self.lowest, "exploded": self.exploded}

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)


class Watch(LossWatch):
    """The same, also for keypoints that are learnt."""

    def __init__(self, explosion: float = 20.0, collapse_radius: float = 0.02, patience: int = 100) -> None:
        """
        Args:
            explosion: stop when the loss stays above this many times its lowest running mean.
            collapse_radius: stop when all keypoints stay within this radius ([-1, 1] units).
            patience: for this many steps on end.
        """
        super().__init__(explosion, patience)
        self.collapse_radius = collapse_radius
        self.collapsed = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        super().on_train_batch_end(trainer, module)
        radius = float(trainer.callback_metrics["train/keypoint_radius"])
        self.collapsed = self.collapsed + 1 if radius < self.collapse_radius else 0
        if self.collapsed > self.patience:
            raise InputError(
                f"step {trainer.global_step}: all keypoints collapsed to one place (radius {radius:.3g}); lower the "
                "detector's learning rate, or raise model.weights.equivariance_value"
            )

    def state_dict(self) -> dict[str, float]:
        return super().state_dict() | {"collapsed": self.collapsed}


class Snapshots(L.Callback):
    """After validation: a grid of pictures and an animated clip, as files in the log folder and in the loggers."""

    def __init__(self, pairs: int = 4, frames: int = 32, every_n_validations: int = 1) -> None:
        """
        Args:
            pairs: rows of the grid; 0 switches grid and clip off.
            frames: length of the clip at most.
            every_n_validations: leave out the others.
        """
        self.pairs, self.frames, self.every_n_validations = pairs, frames, every_n_validations
        self.validations = 0

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or not self.pairs:
            return
        self.validations += 1
        if self.validations % self.every_n_validations:
            return
        assert isinstance(module, BaseTraining)
        data, step = data_of(trainer), trainer.global_step
        held_out = data.held_out_pairs
        chosen = np.linspace(0, len(held_out) - 1, min(self.pairs, len(held_out))).round().astype(int)
        grid, frames, fps = module.pictures(held_out, chosen.tolist(), self.frames)
        folder = run_folder(trainer) / "pictures"
        grid_file, clip_file = folder / f"pairs-{step:07d}.png", folder / f"clip-{step:07d}.mp4"
        write_image(grid_file, grid)
        with VideoWriter(clip_file, fps=fps) as writer:
            for frame in frames:
                writer.write(frame)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/pairs", [str(grid_file)])
                logger.log_video("val/clip", [str(clip_file)], format=["mp4"])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/pairs", grid, step, dataformats="HWC")
                log_animation(logger, "val/clip", frames, step)

    def state_dict(self) -> dict[str, int]:
        return {"validations": self.validations}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.validations = state["validations"]


class LossCurves(L.Callback):
    """Draw what the CSV logger wrote into `curves.png` beside it, when training ends (an interrupted one, too)."""

    @rank_zero_only
    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.save()
                table = Path(logger.log_dir) / "metrics.csv"
                if table.is_file():
                    draw_curves(table, table.with_name("curves.png"))


class RunFacts(SaveConfigCallback):
    """Keep the whole config beside the run, and tell it to the loggers, with the hashes of the data.

    A W&B run's id goes into its checkpoints, so that a resumed run continues it.
    """

    def save_config(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        facts = self.config.as_dict() | data_of(trainer).facts()
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):  # `setup` has just written its config.yaml
                continue
            logger.log_hyperparams(facts)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                checkpoint["wandb_id"] = logger.version


def log_animation(logger: TensorBoardLogger, tag: str, frames: list[np.ndarray], step: int) -> None:
    """Show frames (H, W, 3) uint8 in TensorBoard, as an animated GIF (its own `add_video` needs one more package)."""
    height, width = frames[0].shape[:2]
    gif = imageio.mimwrite("<bytes>", list(frames), format="gif", loop=0)
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    logger.experiment.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def run_folder(trainer: L.Trainer) -> Path:
    """Where a run's files go: the folder that has its `checkpoints`."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version


def draw_curves(table: Path, picture: Path) -> None:
    """Plot a metrics.csv: one panel for the training losses, one for the held-out L1, over steps."""
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, prefix in zip(panels, ("train/", "val/"), strict=True):
        for name in (n for n in (rows[0] if rows else {}) if n.startswith(prefix) and "radius" not in n):
            points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            if points:
                panel.plot(
                    *zip(*points, strict=True), label=name, marker="." if len(points) < 40 else None, linewidth=1
                )
        panel.set(xlabel="step", yscale="log")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=8)
    with atomic_output(picture) as part:
        figure.savefig(part, dpi=110)
