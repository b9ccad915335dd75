"""Turn a YAML file of the original's training code into one of `train.py`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fomm.errors import InputError
from fomm.files import atomic_output, read_yaml

SIZES = ("block_expansion", "max_features", "num_blocks")
NOT_TRAINING = ("reconstruction_params", "animate_params", "visualizer_params")


def convert_config(source: str | Path, output: str | Path) -> list[str]:
    """Write `source`, a config of the original, as a config of `train.py`; same hyper-parameters, same names of things.

    Returns: lines that say what has no place in the new file, and what was assumed.

    Raises:
        InputError: not such a file, or it has an option that is not known (a typo would else vanish silently).
    """
    original = read_yaml(source)
    config, notes = convert(original, str(source))
    config["trainer"]["logger"] = {
        "class_path": "CSVLogger",
        "init_args": {"save_dir": "outputs", "name": Path(output).stem},
    }
    with atomic_output(output) as part:
        part.write_text(
            f"# Converted from {Path(source).name} of the original.\n#\n"
            f"#   python train.py fit --config {output}\n\n"
            + yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=110),
            encoding="utf-8",
        )
    return notes


def convert(original: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """The mapping itself: parsed original -> parsed config of `train.py`, and notes.

    Args:
        where: the original's name in messages.

    Raises:
        InputError: as `convert_config`.
    """
    top = _Options(original, where)
    model = top.inside("model_params")
    common = model.inside("common_params")
    train = top.inside("train_params")
    dataset = top.inside("dataset_params")
    notes = []
    config = {
        "model": {
            "network": {
                "num_keypoints": common.take("num_kp"),
                "image_channels": common.take("num_channels"),
                **_networks(model, common),
            },
            "discriminator": model.inside("discriminator_params").all(
                *("scales", *SIZES), spectral_norm=("sn", False), use_keypoints=("use_kp", False)
            ),
            "weights": train.inside("loss_weights").all(
                *("perceptual", "generator_gan", "discriminator_gan", "feature_matching"),
                *("equivariance_value", "equivariance_jacobian"),
            ),
            "perceptual": "vgg19",
            "scales": train.take("scales"),
            "deformation": train.inside("transform_params").all(
                "sigma_affine", sigma_tps=("sigma_tps", 0.0), points=("points_tps", 5)
            ),
            "learning_rates": train.some(
                generator=("lr_generator",),
                detector=("lr_kp_detector",),
                discriminator=("lr_discriminator",),
                milestones=("epoch_milestones",),
            ),
        },
        "data": {
            "manifest": f"{dataset.take('root_dir')}/manifest.csv",
            "size": _square(dataset),
            "batch_size": train.take("batch_size"),
            "repeats": train.take("num_repeats", 1),
            "identity_sampling": dataset.take("id_sampling", False),
            "augmentation": _augmentation(dataset.inside("augmentation_params")),
        },
        "trainer": {"max_epochs": train.take("num_epochs")},
    }
    if train.take("checkpoint_freq", None) is not None:
        notes.append("checkpoint_freq: left out, the best and the last epoch are always kept")
    notes.append(f"data.manifest: list the clips of {Path(config['data']['manifest']).parent} in this file")
    notes.append("data.batch_size: the original's is for all GPUs together, here it is per process; divide it")
    if dataset.take("pairs_list", None):
        notes.append("pairs_list: left out, training does not use it")
    for name in NOT_TRAINING:
        if top.take(name, None) is not None:
            notes.append(f"{name}: left out, training does not use it")
    for part in (model, common, train, dataset, top):
        part.done()
    return config, notes


def _networks(model: _Options, common: _Options) -> dict[str, Any]:
    detector = model.inside("kp_detector_params")
    generator = model.inside("generator_params")
    motion = generator.inside("dense_motion_params")
    result = {
        "detector": {
            **detector.some(*SIZES, scale_factor=("scale_factor", 1), temperature=("temperature",)),
            "estimate_jacobian": common.take("estimate_jacobian", False),
            "single_jacobian_map": detector.take("single_jacobian_map", False),
        },
        "dense_motion": {
            **motion.some(*SIZES, scale_factor=("scale_factor", 1)),
            "estimate_occlusion": generator.take("estimate_occlusion_map", False),
        },
        "generator": generator.some("block_expansion", "max_features", "num_down_blocks", "num_bottleneck_blocks"),
    }
    for part in (detector, generator, motion):
        part.done()
    return result


def _augmentation(options: _Options) -> dict[str, Any]:
    flip, jitter, resize = (options.inside(n, {}) for n in ("flip_param", "jitter_param", "resize_param"))
    options.take("crop_param", None)  # to the frame's size: what `resize_ratio` does by itself
    result = {
        **{name: flip.take(name, False) for name in ("horizontal_flip", "time_flip")},
        **{name: jitter.take(name, 0.0) for name in ("brightness", "contrast", "saturation", "hue")},
        "resize_ratio": resize.take("ratio", None),
    }
    for part in (flip, jitter, resize, options):
        part.done()
    return {name: value for name, value in result.items() if value not in (False, 0.0, None)}


def _square(dataset: _Options) -> int:
    shape = dataset.take("frame_shape")
    if not isinstance(shape, list) or len(shape) != 3:
        raise InputError(f"{dataset.where}.frame_shape: {shape!r} is not [height, width, channels]; correct it")
    height, width, _ = shape
    if height != width:
        raise InputError(f"{dataset.where}.frame_shape: {height}x{width}, training frames are square; convert by hand")
    return height


class _Options:
    """Options of one section, each taken once; what is left over at the end is an error."""

    def __init__(self, options: Any, where: str):
        if not isinstance(options, dict):
            raise InputError(f"{where}: must be a mapping of options; give a config of the original")
        self.left, self.where = dict(options), where

    def take(self, name: str, *default: Any) -> Any:
        if name in self.left:
            return self.left.pop(name)
        if default:
            return default[0]
        raise InputError(f"{self.where}: option {name!r} is missing; give a training config of the original")

    def some(self, *names: str, **others: tuple[Any, ...]) -> dict[str, Any]:
        """Options under their own names, which must be there, and under others: what `take` is given of each."""
        return {name: self.take(name) for name in names} | {name: self.take(*given) for name, given in others.items()}

    def all(self, *names: str, **others: tuple[Any, ...]) -> dict[str, Any]:
        """As `some`, of a section that has no more."""
        taken = self.some(*names, **others)
        self.done()
        return taken

    def inside(self, name: str, *default: Any) -> _Options:
        return _Options(self.take(name, *default), f"{self.where}: {name}")

    def done(self) -> None:
        if self.left:
            raise InputError(
                f"{self.where}: unknown option(s) {sorted(self.left, key=str)}; remove them or convert by hand"
            )
