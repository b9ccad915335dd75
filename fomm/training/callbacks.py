"""What happens beside the optimisation: files of checkpoints and weights, faults found, pictures, curves."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytorch_lightning as L
from lightning_fabric.plugins.io import TorchCheckpointIO
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from fomm.checkpoint import save_weights
from fomm.checkpoint.save import write_torch
from fomm.errors import InputError, require
from fomm.evaluation import metrics
from fomm.evaluation.frames import bytes_256
from fomm.files import atomic_output, make_folder
from fomm.training.base import BaseTraining
from fomm.training.data import data_of
from fomm.video import VideoWriter, write_image


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, whose best files survive that a training goes on in another folder: they are copied there."""

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._before = Path(str(trainer.ckpt_path)).parent
        self._writes = trainer.is_global_zero

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(self.dirpath or ".")
        names = {path: Path(path).name for path in state_dict["best_k_models"]}
        there = {path: str(here / name) for path, name in names.items() if (self._before / name).is_file()}
        best = state_dict["best_model_path"]
        if best and best not in there:
            rank_zero_info(f"{self._before}: has no {Path(best).name}; the best checkpoint counts from here on")
            return
        if self._writes:
            for path in there:
                copy_into(self._before / names[path], here)
        moved = {name: there.get(state_dict[name], "") for name in ("best_model_path", "kth_best_model_path")}
        kept = {there[path]: score for path, score in state_dict["best_k_models"].items() if path in there}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": kept})


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole, or the older one is.

    Lightning's own way goes through the system's temporary folder. Where that is another file system, its last step is
    a copy over the old checkpoint: a run that is killed in it has lost the only one from which it could go on.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises InputError where it cannot be written."""
        write_torch(path, checkpoint)


class WeightsFile(L.Callback):
    """The weights that inference needs, without optimiser states, beside the checkpoints.

    `last` is written whenever the held-out clips were looked at, `best` when their L1 was the lowest so far; the start,
    before any step, does not count.
    """

    def __init__(self, name: str = "weights") -> None:
        """
        Args:
            name: the files are NAME-last.safetensors and NAME-best.safetensors.
        """
        require(bool(name) and Path(name).name == name, f"weights_file.name {name!r}: must be a name, not a path")
        self.name = name
        self.best = math.inf

    def path(self, folder: Path, which: str) -> Path:
        """Where the weights of a run are: `which` is "best" or "last"."""
        return folder / f"{self.name}-{which}.safetensors"

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.global_step:
            return
        error = float(trainer.callback_metrics["val/l1"])
        self._write(trainer, module, "last")
        if error < self.best:
            self.best = error
            self._write(trainer, module, "best")

    @rank_zero_only
    def _write(self, trainer: L.Trainer, module: L.LightningModule, which: str) -> None:
        assert isinstance(module, BaseTraining)
        data = data_of(trainer)
        scores = {name.replace("/", "_"): float(value) for name, value in trainer.callback_metrics.items()
                  if name.startswith("val/")}  # fmt: skip
        save_weights(
            self.path(run_folder(trainer), which),
            module.exported,
            category=module.category,
            image_size=data.size,
            provenance={"steps": trainer.global_step, **scores, **data.facts(), **module.facts()},
        )

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """A training that goes on in another folder takes the best weights so far with it."""
        self._before = self.path(Path(str(trainer.ckpt_path)).parent.parent, "best")
        if self._before.is_file() and trainer.is_global_zero and trainer.state.fn == "fit":
            copy_into(self._before, run_folder(trainer))

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        if self._before.is_file():
            self.best = state["best"]


class UploadWeights(L.Callback):
    """At the end of a training its best weights go to W&B, where that is the logger.

    Its own way uploads checkpoints, which are ten times larger, and not offline.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        weights = next(callback for callback in trainer.callbacks if isinstance(callback, WeightsFile))  # type: ignore[attr-defined]
        file = weights.path(run_folder(trainer), "best")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and file.is_file():
                import wandb  # takes two seconds, and is not needed for --help

                artifact = wandb.Artifact(f"model-{logger.version}", "model")
                artifact.add_file(str(file))
                logger.experiment.log_artifact(artifact)


class LandmarkDistance(L.Callback):
    """val/akd_mediapipe: the evaluation's metric on the held-out pairs, and val/akd_missed, the share of their truths
    with a face whose prediction shows none.

    Where no truth shows a face there is neither. `find` gives landmarks (N, 2) in pixels, or None, of the face in each
    of (T, 256, 256, 3) uint8 pictures.
    """

    def __init__(self, find: Callable[[np.ndarray], Sequence[np.ndarray | None]]) -> None:
        self.find = find

    def on_validation_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.total, self.found, self.missed = 0.0, 0, 0

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: object
    ) -> None:
        assert isinstance(outputs, Mapping), "what `validation_step` returns"
        seen, wanted = (self.find(bytes_256(outputs[name].float().cpu())) for name in ("prediction", "truth"))
        for face, truth in zip(seen, wanted, strict=True):
            if truth is not None and face is None:
                self.missed += 1
            elif truth is not None and face is not None:
                self.found += 1
                self.total += float(metrics.akd(face, truth))

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        mine = Tensor([self.total, self.found, self.missed]).to(module.device)
        total, found, missed = trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        if found:
            module.log("val/akd_mediapipe", total / found)
        if found or missed:
            module.log("val/akd_missed", missed / (found + missed))


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
    """After validation: a grid of pictures and an animated clip, as files in the log folder and in the loggers.

    Also before the first step, which counts as no validation.
    """

    def __init__(self, pairs: int = 4, frames: int = 32, every_n_validations: int = 1) -> None:
        """
        Args:
            pairs: rows of the grid; 0 switches grid and clip off.
            frames: length of the clip at most.
            every_n_validations: leave out the others.
        """
        require(pairs >= 0, f"snapshots.pairs {pairs}: must be at least 0")
        for name, number in {"frames": frames, "every_n_validations": every_n_validations}.items():
            require(number >= 1, f"snapshots.{name} {number}: must be at least 1")
        self.pairs, self.frames, self.every_n_validations = pairs, frames, every_n_validations
        self.validations = 0

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or not self.pairs:
            return
        self.validations += trainer.global_step > 0
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
    """Keep the whole config in the run's folder, and tell it to the loggers, with the networks that were built and the
    hashes of the data and of the checkpoint that it starts from.

    A W&B run's id goes into its checkpoints, so that a resumed run continues it.
    """

    def save_config(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        assert isinstance(module, BaseTraining)
        folder = run_folder(trainer)
        make_folder(folder)
        self.parser.save(self.config, folder / self.config_filename, skip_none=False, overwrite=True)
        facts = self.config.as_dict() | data_of(trainer).facts() | module.facts()
        facts["model"]["network"] = asdict(module.model.config)
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # whose folder has the config.yaml
                logger.log_hyperparams(facts)

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, BaseTraining)
        millions = sum(parameter.numel() for parameter in module.model.parameters()) / 1e6
        rank_zero_info(f"model: {millions:.1f} million parameters; everything goes to {run_folder(trainer)}")

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


def copy_into(file: Path, folder: Path) -> None:
    """Copy a file into a folder; nothing is done where it lies there."""
    if not (folder / file.name).exists() or not file.samefile(folder / file.name):
        with atomic_output(folder / file.name) as part:
            shutil.copyfile(file, part)


CURVES_A_ROW = 3


def draw_curves(table: Path, picture: Path) -> None:
    """Plot a metrics.csv over steps: each loss and each held-out score on an axis of its own, losses logarithmic.

    The line at 1 beside the ratio of held-out errors is the still picture: below it motion is learnt.
    """
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    curves = {
        name: [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        for name in (rows[0] if rows else {})
        if name.startswith(("train/", "val/"))
    }
    curves = {name: points for name, points in curves.items() if points}
    lines = max(1, math.ceil(len(curves) / CURVES_A_ROW))
    # Places are given: to find them, matplotlib measures all texts again and again, which took longer than drawing.
    width, height = 4 * CURVES_A_ROW, 2.6 * lines
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=0.85 / width, right=1 - 0.1 / width, bottom=0.5 / height, top=1 - 0.3 / height, wspace=0.3, hspace=0.42
    )
    panels = figure.subplots(lines, CURVES_A_ROW, squeeze=False).flat
    for panel, (name, points) in zip(panels, curves.items(), strict=False):
        panel.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else None, linewidth=1)
        if name == "val/l1_ratio":
            panel.axhline(1, color="grey", linestyle="--", linewidth=1, label="the still picture")
            panel.legend(fontsize=8)
        elif name.startswith("train/") and all(value > 0 for _, value in points):
            panel.set_yscale("log")
        panel.set_title(name, y=1)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    with atomic_output(picture) as part:
        figure.savefig(part, dpi=110)
