"""Train the First Order Motion Model: `python train.py fit --config configs/puppets-64.yaml`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from fomm.callbacks import LossCurves, RunFacts, Snapshots, Watch, WeightsFile
from fomm.data import ClipData
from fomm.errors import InputError, run
from fomm.training import Training


class TrainCLI(LightningCLI):
    """One configuration system: what `Training`, `ClipData` and Lightning's Trainer take is what can be set."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ModelCheckpoint, "resume_point")
        parser.add_lightning_class_args(WeightsFile, "weights_file")
        parser.add_lightning_class_args(Watch, "watch")
        parser.add_lightning_class_args(Snapshots, "snapshots")
        parser.set_defaults(
            {
                # After each validation: the best and the last.
                "checkpoint.monitor": "val/l1",
                "checkpoint.save_last": True,
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                # In between, so that a killed run loses at most this many steps.
                "resume_point.every_n_train_steps": 500,
                "resume_point.filename": "resume",
                "resume_point.enable_version_counter": False,
            }
        )

    def before_instantiate_classes(self) -> None:
        """A resumed W&B run continues under its old id."""
        options = self.config[self.subcommand] if self.subcommand else self.config
        logger, checkpoint = options.trainer.logger, options.get("ckpt_path")
        if not checkpoint or not str(getattr(logger, "class_path", "")).endswith("WandbLogger"):
            return
        if not Path(checkpoint).is_file():
            raise InputError(f"{checkpoint}: no such checkpoint; give the path of a run's .ckpt file")
        run_id = torch.load(checkpoint, map_location="cpu", weights_only=False).get("wandb_id")
        if run_id and not logger.init_args.get("id"):
            logger.init_args.id = run_id
            logger.init_args.resume = "allow"


SHORTCUTS = {"--init": "--model.init", "--data": "--data.manifest"}


def expand_shortcuts(args: Sequence[str]) -> list[str]:
    """Write `--init X` and `--data X` (or `--init=X`) out as the options that they stand for."""
    return [SHORTCUTS.get(name, name) + equals + value for name, equals, value in (a.partition("=") for a in args)]


def main(args: ArgsType = None) -> TrainCLI:
    """Parse the command line (or `args`) and run it."""
    if args is None:
        sys.argv[1:] = expand_shortcuts(sys.argv[1:])
    for message in (
        "Using ModelCheckpoint with manual optimization",  # checkpoints hold the state after a step: as meant
        ".*your dataloader is not resumable",  # ClipData resumes it by itself
        ".*treespec, LeafSpec",
        ".*LightningCLI.s args parameter",  # `main(args)` is meant for Python
        ".*num_workers",
    ):
        warnings.filterwarnings("ignore", message)
    return TrainCLI(
        Training,
        ClipData,
        args=args,
        seed_everything_default=0,
        save_config_callback=RunFacts,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "outputs", "name": "train"}},
            "use_distributed_sampler": False,  # ClipData deals the pairs out to the processes itself
            "callbacks": [LossCurves()],
            "log_every_n_steps": 10,
            "num_sanity_val_steps": 0,
        },
        parser_kwargs={"fit": {"default_env": False}},
    )


if __name__ == "__main__":
    run(main)
