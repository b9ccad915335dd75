"""Train a model: `python train.py fit --config configs/puppets-64.yaml`.

A config says by `architecture` which model it trains: `fomm`, the paper's (the default), or `face`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from fomm.errors import InputError, require_system_libraries, run

COMMANDS = {
    "fit": "train, and keep the best and the last weights",
    "validate": "look at the held-out score of a checkpoint",
}


def show_commands() -> None:
    """The answer to `--help`, without the seconds that the options of all classes take to be found."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="`python train.py fit --help` explains the options; it takes some seconds to gather them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, does in COMMANDS.items():
        commands.add_parser(name, help=does)
    parser.print_help()


if __name__ == "__main__" and sys.argv[1:] in (["-h"], ["--help"]):
    show_commands()
    sys.exit()
require_system_libraries()

# ruff: noqa: E402 - whoever lacks a library is told so in one line, before these imports fail for want of it
import numpy as np
import pytorch_lightning as L
from jsonargparse import ArgumentError, Namespace
from lightning_fabric.plugins.io import TorchCheckpointIO
from lightning_fabric.utilities import seed
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from fomm.checkpoint import run_checkpoint
from fomm.checkpoint.architectures import FACE_NAME, FOMM_NAME
from fomm.files import make_folder, read_yaml
from fomm.training.base import BaseTraining
from fomm.training.callbacks import (
    BestCheckpoint,
    LandmarkDistance,
    LossCurves,
    LossWatch,
    RunFacts,
    Snapshots,
    UploadWeights,
    Watch,
    WeightsFile,
    WholeCheckpoints,
)
from fomm.training.data import ClipData, PairData
from fomm.training.face.data import FaceData, find_sets
from fomm.training.face.module import FaceTraining
from fomm.training.module import Training


class FacesOrVideos(FaceData):
    """`FaceData` that makes a set of the faces in videos, where it is given a folder of those."""

    def prepare_data(self) -> None:
        """Write the set (one process does it, before the others look)."""
        if not find_sets(self.folder):
            from preprocess.dataset.face_set import write_faces

            # In a process of its own: after mediapipe has run in this one, workers that are forked from it would hang.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                apart.submit(write_faces, self.folder).result()


class MeshesApart:
    """Finds faces' meshes in a process of its own, as `FacesOrVideos` does and for the same reason; it ends with this
    one, however that ends."""

    def __init__(self) -> None:
        self.pipe: Connection | None = None

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray | None]:
        """Of (T, H, W, 3) uint8 pictures, as `preprocess.faces.largest_meshes`; raises InputError where it has died."""
        from preprocess.faces import serve_meshes

        if self.pipe is None:
            apart = get_context("spawn")
            self.pipe, theirs = apart.Pipe()
            apart.Process(target=serve_meshes, args=(theirs,), daemon=True).start()
            theirs.close()
        try:
            self.pipe.send(pictures)
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise InputError(
                "val/akd_mediapipe: the process that finds faces died; train without --model.category face"
            ) from error


class Recipe(NamedTuple):
    """What trains a model: classes whose arguments are options."""

    training: type[BaseTraining]
    data: type[PairData]
    watch: type[LossWatch]
    data_option: str  # where the data is, for short `--data`


RECIPES = {
    FOMM_NAME: Recipe(Training, ClipData, Watch, "--data.manifest"),
    FACE_NAME: Recipe(FaceTraining, FacesOrVideos, LossWatch, "--data.folder"),
}


class TrainCLI(LightningCLI):
    """One configuration system: what the training, its data and Lightning's Trainer take is what can be set."""

    def __init__(self, architecture: str, **kwargs: Any) -> None:
        self.architecture = architecture
        recipe = RECIPES[architecture]
        super().__init__(recipe.training, recipe.data, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--architecture", choices=tuple(RECIPES), default=self.architecture, help="which model is trained"
        )
        for name, kind, file in (
            ("checkpoint", BestCheckpoint, "best"),
            ("last_checkpoint", ModelCheckpoint, "last"),
            ("resume_point", ModelCheckpoint, "resume"),
        ):
            parser.add_lightning_class_args(kind, name)
            parser.set_defaults({f"{name}.filename": file, f"{name}.enable_version_counter": False})
        parser.add_lightning_class_args(WeightsFile, "weights_file")
        parser.add_lightning_class_args(RECIPES[self.architecture].watch, "watch")
        parser.add_lightning_class_args(Snapshots, "snapshots")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/l1",
                # After each validation: the best and the last, each by itself, since Lightning's `save_last` writes
                # only where the best is written.
                "checkpoint.save_on_train_epoch_end": False,
                "last_checkpoint.save_on_train_epoch_end": False,
                # In between, so that a killed run loses at most this many steps.
                "resume_point.every_n_train_steps": 500,
            }
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Training, and looking at a checkpoint's held-out score; nothing here tests or predicts."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name in COMMANDS}

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Each backward pass reaches one optimiser's networks only: processes must not wait for the others' gradients,
        whether or not the strategy was named so."""
        settings = self._get(self.config_init, "trainer")
        callbacks = settings["callbacks"] or []
        callbacks = [*callbacks] if isinstance(callbacks, list) else [callbacks]
        if self.uploads:
            callbacks.append(UploadWeights())
        if self.architecture == FOMM_NAME and self.model.category == "face":
            callbacks.append(LandmarkDistance(MeshesApart()))
        if settings["enable_progress_bar"] is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            # Not RichProgressBar, which counts to -2 epochs where steps are limited; nothing where no one sees a bar.
            callbacks.append(TQDMProgressBar(refresh_rate=int(sys.stdout.isatty())))
        trainer = super().instantiate_trainer(**kwargs | {"callbacks": callbacks})
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                # W&B warns of what Lightning gives it: this setting, which is gone, and a folder that is not there.
                logger._wandb_init.pop("anonymous", None)
                if logger.save_dir:
                    make_folder(Path(logger.save_dir))
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # sharded strategies have another of their own
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        if isinstance(trainer.strategy, DDPStrategy):
            trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
        return trainer

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse what would go wrong later; a resumed W&B run continues under its old id."""
        super().parse_arguments(parser, args)
        options = self.config[self.config.subcommand]
        _check(options)
        # Lightning's default is false, too: only what was said counts.
        words = args if isinstance(args, list) else None
        wandb = is_wandb(options.trainer.logger)
        said = parser.parse_args(words, defaults=False) if wandb else Namespace()
        self.uploads = said.get(f"{self.config.subcommand}.trainer.logger.init_args.log_model") is not False
        logger, checkpoint = options.trainer.logger, options.get("ckpt_path")
        settings = getattr(logger, "init_args", {})
        if options.trainer.default_root_dir and settings.get("save_dir") == SAVE_DIR:
            settings["save_dir"] = options.trainer.default_root_dir  # where all that a run writes goes
        if not checkpoint:
            return
        content = run_checkpoint(checkpoint)
        trained = (content.get("fomm") or {}).get("architecture", FOMM_NAME)
        if trained != self.architecture:
            raise InputError(
                f"{checkpoint}: of a training of {trained!r}, but the config trains {self.architecture!r}; give the "
                "config of that training"
            )
        run_id = content.get("wandb_id")
        if run_id and is_wandb(logger) and not logger.init_args.get("id"):
            logger.init_args.id = run_id
            logger.init_args.resume = "allow"


def is_wandb(logger: object) -> bool:
    """Whether options of a logger ask for W&B."""
    return str(getattr(logger, "class_path", "")).endswith("WandbLogger")


def _check(options: Namespace) -> None:
    """Raise InputError for options of Lightning's that do not mean here what they say."""
    trainer = options.trainer
    if trainer.gradient_clip_val is not None:
        raise InputError(
            "trainer.gradient_clip_val: networks are limited one by one; set model.clip_gradient_norm instead"
        )
    if trainer.accumulate_grad_batches != 1:
        raise InputError(
            f"trainer.accumulate_grad_batches {trainer.accumulate_grad_batches}: each batch is a step; set "
            "data.batch_size, or train in several processes"
        )
    if trainer.precision is not None and str(trainer.precision) not in PRECISIONS:
        raise InputError(f"trainer.precision {trainer.precision}: must be one of {', '.join(PRECISIONS)}")
    for name in ("limit_val_batches", "val_check_interval", "check_val_every_n_epoch"):
        if trainer[name] == 0:
            raise InputError(f"trainer.{name} 0: what is kept is chosen by the held-out pairs; leave it out")
    for checkpoint in ("checkpoint", "last_checkpoint"):
        for name in ("every_n_train_steps", "train_time_interval", "every_n_epochs"):
            if options[checkpoint][name] is not None:
                raise InputError(
                    f"{checkpoint}.{name} {options[checkpoint][name]}: the best and the last checkpoint are written "
                    f"after each validation; how often a killed run can be resumed from is resume_point.{name}"
                )
    checkpoint = options.get("ckpt_path")
    if checkpoint and not Path(checkpoint).is_file():
        raise InputError(f"{checkpoint}: no such checkpoint; give the path of a run's .ckpt file")


SAVE_DIR = "outputs"
UNSAID = (
    "Detected KeyboardInterrupt",  # `run` says it in one line
    "Tip: ",
    "TPU available: False",
    "Seed set to",  # it is in the config
)
PRECISIONS = ("32", "32-true", "bf16-mixed", "16-mixed", "64", "64-true")
FIT = """Train: learn from clips, keep the best and the last weights, curves and pictures.

Short forms: --init NAME for --model.init NAME, --data PATH for --data.manifest PATH (of the model face:
--data.folder PATH); --architecture face --help lists the options of that model. What a class takes
(networks, loggers, callbacks) is explained by its own help, such as --model.network.help or
--trainer.logger.help WandbLogger. A run that was stopped goes on with --ckpt_path RUN/checkpoints/resume.ckpt,
in a folder of its own, to which the best weights so far are copied; RUN/checkpoints/last.ckpt goes on from the last
validation, with which each training ends. W&B gets weights-best.safetensors; --trainer.logger.log_model false: nothing,
true: checkpoints as well."""


def expand_shortcuts(args: Sequence[str], architecture: str = FOMM_NAME) -> list[str]:
    """Write `--init X` and `--data X` (or `--init=X`) out as the options that they stand for."""
    shortcuts = {"--init": "--model.init", "--data": RECIPES[architecture].data_option}
    return [shortcuts.get(name, name) + equals + value for name, equals, value in (a.partition("=") for a in args)]


def architecture_of(args: Sequence[str]) -> str:
    """Which model is to be trained, by the options or else by the config files among them: it decides on all others.

    Raises:
        InputError: a model that is not known.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--architecture")
    parser.add_argument("--config", "-c", action="append", default=[], type=Path)
    told = parser.parse_known_args(args)[0]
    # What is not there, or no mapping, its parser will tell.
    configs = [read_yaml(path) if path.is_file() else None for path in reversed(told.config)]
    named = [told.architecture, *(config.get("architecture") for config in configs if isinstance(config, dict))]
    found = next(filter(None, named), FOMM_NAME)
    if found not in tuple(RECIPES):  # a list, say, could not even be looked up
        raise InputError(f"architecture {found}: must be one of {', '.join(RECIPES)}")
    return found


def main(args: list[str] | None = None) -> TrainCLI:
    """Parse the command line (or `args`) and run it."""
    architecture = architecture_of(sys.argv[1:] if args is None else args)
    if args is None:
        sys.argv[1:] = expand_shortcuts(sys.argv[1:], architecture)
    for message in (
        "Using ModelCheckpoint with manual optimization",  # checkpoints hold the state after a step: as meant
        ".*your dataloader is not resumable",  # ClipData resumes it by itself
        "Found .* module.s. in eval mode",  # the average, the perceptual network, frozen parts
        ".*treespec, LeafSpec",
        ".*LightningCLI.s args parameter",  # `main(args)` is meant for Python
        ".*num_workers",
        "It is recommended to use .self.log.*sync_dist",  # `Training` sums over the processes itself
        "find_unused_parameters=True was specified",
        "The dirpath has changed",  # `BestCheckpoint` takes the best along
        "Checkpoint directory .* exists and is not empty",  # of a W&B run that goes on
    ):
        warnings.filterwarnings("ignore", message)
    for logger in (rank_zero.__name__, seed.__name__):
        logging.getLogger(logger).addFilter(lambda record: not any(text in record.getMessage() for text in UNSAID))
    try:
        return TrainCLI(
            architecture,
            args=args,
            seed_everything_default=0,
            auto_configure_optimizers=False,  # `Training` makes its own; an --optimizer would replace them all
            save_config_callback=RunFacts,
            save_config_kwargs={"save_to_log_dir": False},  # of W&B that is the folder of all runs
            trainer_defaults={
                "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": SAVE_DIR, "name": "train"}},
                "use_distributed_sampler": False,  # ClipData deals the pairs out to the processes itself
                "callbacks": [LossCurves()],
                "log_every_n_steps": 10,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,  # `RunFacts` says what was built
            },
            parser_kwargs={
                "description": __doc__,
                "exit_on_error": False,
                "fit": {"description": FIT, "exit_on_error": False},
                "validate": {"exit_on_error": False},
            },
        )
    except ArgumentError as error:
        raise InputError(f"{error}; `python train.py fit --help` explains the options") from error
    except MisconfigurationException as error:  # options of Lightning's that contradict one another or the machine
        raise InputError(str(error)) from error
    except SystemExit as leaving:  # Lightning's word for any signal is exit code 1
        if isinstance(leaving.__context__, KeyboardInterrupt):
            raise leaving.__context__ from None
        raise


if __name__ == "__main__":
    run(main)
