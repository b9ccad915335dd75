"""Train the First Order Motion Model: `python train.py fit --config configs/puppets-64.yaml`."""

from __future__ import annotations

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger

from fomm.callbacks import DataHash, LossCurves, Snapshots, Watch, WeightsFile
from fomm.data import ClipData
from fomm.errors import run
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


def main(args: ArgsType = None) -> TrainCLI:
    """Parse the command line (or `args`) and run it."""
    return TrainCLI(
        Training,
        ClipData,
        args=args,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "outputs", "name": "train"}},
            "use_distributed_sampler": False,  # ClipData deals the pairs out to the processes itself
            "callbacks": [DataHash(), LossCurves()],
            "log_every_n_steps": 10,
            "num_sanity_val_steps": 0,
        },
        parser_kwargs={"fit": {"default_env": False}},
    )


if __name__ == "__main__":
    run(main)
