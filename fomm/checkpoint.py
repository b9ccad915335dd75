"""Weights on disk: load what the original, a training run or this module wrote, and write them back.

No config is needed. What tensors tell by name and shape is read from them; what they cannot tell (temperature,
`align_corners`, category, frame size) comes from the file's own metadata, else from the table of known checkpoints
(`fomm.known`), else from its defaults, and the caller may override it. Files are only ever read as data: pickles with
`weights_only=True`, so that a checkpoint cannot run code.

Three formats are read:

* "original": `.pth.tar`, a pickle with `generator`, `kp_detector` and, if complete, discriminator, optimisers, epoch.
* "training": the `.ckpt` of a training run. Where the run kept an average of its weights, that is what loads.
* "weights": this project's safetensors with JSON metadata, written by `save_weights`.
"""

from __future__ import annotations

import json
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fomm import __version__, known
from fomm.download import inspect
from fomm.errors import InputError
from fomm.files import atomic_output, hash_file
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, DiscriminatorConfig, GeneratorConfig, ModelConfig

FORMAT_VERSION = 1
_DENSE_MOTION = "dense_motion_network."  # where the original keeps it, inside its generator


@dataclass(frozen=True)
class CheckpointInfo:
    """What is known about loaded weights.

    Attributes:
        path: the file.
        sha256: its hash.
        format: "original", "training" or "weights".
        name: of the known checkpoint it was asked for by, or whose file name it has.
        category: what it animates, one of `fomm.known.CATEGORIES`.
        image_size: side of the square frames that it was trained on, pixels.
        epoch: last finished epoch, from 0, if the file says.
        provenance: how the weights were made, if the file says.
        notes: what a user should know (assumed settings, unverified file), one sentence each.
    """

    path: Path
    sha256: str
    format: str
    name: str | None
    category: str
    image_size: int
    epoch: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class LoadedModel(NamedTuple):
    """A model in evaluation mode, on the CPU, in float32, and where it came from."""

    model: FOMM
    info: CheckpointInfo


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds beside the model, for going on with a training; None for what is absent.

    Optimiser states are the original's: one Adam each. Their parameters are numbered in the networks' order: for the
    generator `dense_motion`, then `generator`; a discriminator's and a detector's as `parameters()` yields them.

    Attributes:
        discriminator: its state dict.
        discriminator_config: read from that.
        optimizer_generator, optimizer_discriminator, optimizer_kp_detector: state dicts of torch.optim.Adam.
        epoch: the last finished one, from 0.
    """

    discriminator: dict[str, Tensor] | None = None
    discriminator_config: DiscriminatorConfig | None = None
    optimizer_generator: dict[str, Any] | None = None
    optimizer_discriminator: dict[str, Any] | None = None
    optimizer_kp_detector: dict[str, Any] | None = None
    epoch: int | None = None


class InitReport(NamedTuple):
    """What `initialize` did: names of tensors of the model, and of the checkpoint for `unused`."""

    loaded: list[str]
    fresh: list[str]
    unused: list[str]


class _Contents(NamedTuple):
    """A checkpoint file, read but not yet judged."""

    format: str
    state: dict[str, Tensor]  # under FOMM's names
    metadata: dict[str, Any]
    training: TrainingState
    notes: list[str]


# ---- loading --------------------------------------------------------------------------------------------------------


def load_model(
    source: str | Path,
    *,
    temperature: float | None = None,
    align_corners: bool | None = None,
    category: str | None = None,
    image_size: int | None = None,
    progress: bool = True,
) -> LoadedModel:
    """Load a model from a file, or by the name of a known checkpoint (downloaded if need be).

    Args:
        source: a path, or a name in `fomm.known.KNOWN`.
        temperature: of the keypoints' softmax. By default the file's, else the known checkpoint's, else 0.1.
        align_corners: convention of the warps. By default the file's, else the known checkpoint's, else True.
        category: what it animates, of `fomm.known.CATEGORIES`. By default the file's, else the known checkpoint's.
        image_size: side of its frames, pixels. By default the file's, else the known checkpoint's, else 256.
        progress: show a bar while downloading.

    Raises:
        InputError: no such file or name, something else than a checkpoint, a damaged file, a wrong hash, missing,
            unexpected or misshapen tensors (all are named), numbers that are not finite.
        MissingWeightsError: known, but not on this machine and nowhere to be fetched.
    """
    if category is not None and category not in known.CATEGORIES:
        raise InputError(f"category {category!r}: must be one of {', '.join(known.CATEGORIES)}")
    path, asked_for = known.resolve(source, progress=progress)
    contents = _read(path)
    entry = asked_for or known.find_known(path)
    defaults = entry or known.UNKNOWN
    told, notes = contents.metadata, list(contents.notes)
    _check_metadata(told, path)
    if entry is not None:
        notes += _doubts(path, entry, by_name=asked_for is not None)
    config = _stored_config(told, notes)
    if config is None:
        if entry is None:
            notes.append(f"not a known checkpoint: temperature {defaults.temperature} and align_corners assumed")
        config = infer_config(_shapes(contents.state))
        config = _with_settings(config, defaults.temperature, defaults.align_corners)
    config = _with_settings(config, temperature, align_corners)
    model = _build(config, contents.state, path)
    if category is None:
        category = told.get("category") or defaults.category
    if image_size is None:
        image_size = told.get("image_size") or -(-defaults.image_size // model.stride) * model.stride
    if type(image_size) is not int or not 0 < image_size <= 4096 or image_size % model.stride:
        raise InputError(f"{path}: image_size {image_size!r}: give a positive multiple of {model.stride}, 4096 at most")
    return LoadedModel(
        model.eval(),
        CheckpointInfo(
            path=path,
            sha256=hash_file(path),
            format=contents.format,
            name=entry.name if entry else None,
            category=category,
            image_size=image_size,
            epoch=contents.training.epoch,
            provenance=told.get("provenance") or {},
            notes=tuple(notes),
        ),
    )


def run_checkpoint(path: str | Path) -> dict[str, Any]:
    """All that is in a training run's own checkpoint, from which Lightning can go on.

    Raises:
        InputError: not there, damaged, or another kind of checkpoint.
    """
    path = Path(path)
    content = {} if inspect(path) == "safetensors" else _unpickle(path)
    if not {"state_dict", "optimizer_states", "loops"} <= content.keys():
        raise InputError(f"{path}: not a checkpoint of a training run, so nothing can go on from it; give it as --init")
    return content


def training_state(source: str | Path, *, progress: bool = True) -> TrainingState:
    """What a checkpoint (a path or a known name) holds for going on with a training.

    The optimisers are those of complete checkpoints of the original; a training run's own checkpoint gives its
    discriminator and epoch (Lightning resumes the rest from the file itself).

    Raises:
        InputError: not a checkpoint, as for `load_model`; or a discriminator or optimiser that does not fit.
        MissingWeightsError: as for `load_model`.
    """
    path, _ = known.resolve(source, progress=progress)
    contents = _read(path)
    training, state = contents.training, contents.state
    model = _build(infer_config(_shapes(state)), state, path)
    generator = [*model.dense_motion.parameters(), *model.generator.parameters()]
    _check_optimizer(training.optimizer_generator, generator, f"{path}: optimizer_generator")
    _check_optimizer(training.optimizer_kp_detector, model.detector.parameters(), f"{path}: optimizer_kp_detector")
    if training.discriminator is None:
        return training
    config = infer_discriminator_config(_shapes(training.discriminator), model.config)
    try:
        with _Uninitialised():
            discriminator = config.build(model.config)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: discriminator of an impossible shape ({error}); use an unaltered checkpoint"
        ) from error
    _compare(training.discriminator, discriminator.state_dict(), f"{path}: discriminator")
    _require_finite(training.discriminator, path)
    _check_optimizer(training.optimizer_discriminator, discriminator.parameters(), f"{path}: optimizer_discriminator")
    return replace(training, discriminator_config=config)


def initialize(model: nn.Module, source: str | Path, *, progress: bool = True) -> InitReport:
    """Copy from a checkpoint into a model, in place, all tensors of equal name and shape; the others start afresh.

    Another number of keypoints, say, changes the detector's heads and the ends of the dense motion network, and
    leaves the rest. The resolution may differ at will: the networks are convolutional.

    Args:
        model: a `FOMM` with fresh weights.
        source: a path or a known name.
        progress: show a bar while downloading.

    Raises:
        InputError: not a checkpoint, as for `load_model`, or not one tensor fits.
        MissingWeightsError: as for `load_model`.
    """
    path, _ = known.resolve(source, progress=progress)
    state, own = _read(path).state, model.state_dict()
    _require_finite(state, path)
    loaded = [name for name in own if name in state and state[name].shape == own[name].shape]
    if not any(name.endswith("conv.weight") for name in loaded):
        raise InputError(f"{path}: no convolution of it fits this model; give the model sizes like the checkpoint's")
    model.load_state_dict({name: state[name] for name in loaded}, strict=False)
    taken = set(loaded)
    return InitReport(loaded, [name for name in own if name not in taken], [n for n in state if n not in taken])


# ---- writing --------------------------------------------------------------------------------------------------------


def save_weights(
    path: str | Path,
    model: FOMM,
    *,
    category: str = "unknown",
    image_size: int = 256,
    half: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the model's weights as safetensors with metadata. Equal calls write equal bytes.

    Args:
        path: the file, whole or not there.
        model: on any device.
        category: what it animates, one of `fomm.known.CATEGORIES`.
        image_size: side of the frames that it was trained on, pixels.
        half: store convolution weights as float16 (half the size; `load_model` turns them back into float32, so an
            error of about 5e-4 of each weight remains). Norms, biases and blur kernels stay float32.
        provenance: how the weights were made, as JSON: command, data, commit, scores.

    Raises:
        InputError: the file cannot be written.
        ValueError: a weight is not finite, or too large for float16; or no such category.
    """
    if category not in known.CATEGORIES:
        raise ValueError(f"category {category!r}: must be one of {', '.join(known.CATEGORIES)}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {
            name: t.half() if t.ndim == 4 and not name.endswith("down.weight") else t for name, t in tensors.items()
        }
    if bad := _not_finite(tensors):
        raise ValueError(f"{path}: not finite{' in float16' if half else ''}: {', '.join(bad)}; nothing was written")
    metadata = {
        "format_version": FORMAT_VERSION,
        "fomm_version": __version__,
        "model": asdict(model.config),
        "category": category,
        "image_size": image_size,
        "dtype": "float16" if half else "float32",
        "provenance": dict(provenance or {}),
    }
    # One entry only: safetensors keeps several in random order.
    blob = safetensors.torch.save(tensors, {"fomm": json.dumps(metadata, sort_keys=True)})
    with atomic_output(path) as part:
        part.write_bytes(blob)


def export_original(path: str | Path, model: FOMM, *, training: TrainingState | None = None, epoch: int = 0) -> None:
    """Write the model in the original's format, so that the original code loads it: names, order, legacy pickle.

    Args:
        path: the file, whole or not there.
        model: on any device.
        training: also write this (a complete checkpoint).
        epoch: the last finished one, from 0, where `training` has none; the original's loader insists on a number.

    Raises:
        InputError: the file cannot be written, or the original has no such model.
    """
    if model.config.generator.blend_source:
        raise InputError(
            f"{path}: the original's generator cannot blend the source in; only models without can go there"
        )
    training = training or TrainingState()
    discriminator = training.discriminator
    checkpoint = {
        "generator": _joined({_DENSE_MOTION: model.dense_motion.state_dict(), "": model.generator.state_dict()}),
        "discriminator": None if discriminator is None else _joined({"": discriminator}),
        "kp_detector": _joined({"": model.detector.state_dict()}),
        "optimizer_generator": training.optimizer_generator,
        "optimizer_discriminator": training.optimizer_discriminator,
        "optimizer_kp_detector": training.optimizer_kp_detector,
        "epoch": epoch if training.epoch is None else training.epoch,
    }
    with atomic_output(path) as part:
        try:
            torch.save(
                {key: value for key, value in checkpoint.items() if value is not None},
                part,
                _use_new_zipfile_serialization=False,
            )
        except RuntimeError as error:  # how torch says that the disk is full
            raise OSError(str(error)) from error


def _joined(parts: Mapping[str, Mapping[str, Tensor]]) -> OrderedDict[str, Tensor]:
    """State dicts under prefixes as one, with the versions that old torch looks up before it loads spectral norms."""
    joined: OrderedDict[str, Tensor] = OrderedDict()
    joined._metadata = OrderedDict()
    for prefix, state in parts.items():
        joined.update((prefix + name, tensor.detach().cpu().contiguous()) for name, tensor in state.items())
        versions = getattr(state, "_metadata", {})
        joined._metadata.update(((prefix + module).rstrip("."), version) for module, version in versions.items())
    return joined


# ---- what names and shapes tell -------------------------------------------------------------------------------------

Shapes = Mapping[str, tuple[int, ...]]


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def infer_config(shapes: Shapes) -> ModelConfig:
    """Read a model's sizes from the names and shapes of its tensors (under FOMM's names).

    What leaves no trace has its default: temperature, `align_corners`, a `max_features` that no level reaches (the
    default, or the widest level if that is more), and whether one keypoint shares its one jacobian map. A size whose
    tensor is missing has its default too, so that the comparison that follows names all that is wrong.
    """
    keypoints = _size(shapes, "detector.kp.weight", 0, ModelConfig.num_keypoints)
    channels = _size(shapes, "generator.first.conv.weight", 1, ModelConfig.image_channels)
    jacobian_maps = _size(shapes, "detector.jacobian.weight", 0, 0) // 4
    width = _size(shapes, "generator.first.conv.weight", 0, GeneratorConfig.block_expansion)
    down_blocks = _count(shapes, "generator.down_blocks.")
    widths = [width] + [
        _size(shapes, f"generator.down_blocks.{i}.conv.weight", 0, width * 2 ** (i + 1)) for i in range(down_blocks)
    ]
    return ModelConfig(
        num_keypoints=keypoints,
        image_channels=channels,
        detector=DetectorConfig(
            **_hourglass(shapes, "detector.predictor.", DetectorConfig),
            scale_factor=_scale_factor(shapes, "detector.down.weight"),
            estimate_jacobian=jacobian_maps > 0,
            single_jacobian_map=jacobian_maps == 1 < keypoints,
        ),
        dense_motion=DenseMotionConfig(
            **_hourglass(shapes, "dense_motion.hourglass.", DenseMotionConfig),
            scale_factor=_scale_factor(shapes, "dense_motion.down.weight"),
            estimate_occlusion="dense_motion.occlusion.weight" in shapes,
        ),
        generator=GeneratorConfig(
            block_expansion=width,
            max_features=_max_features(widths, width, GeneratorConfig.max_features),
            num_down_blocks=down_blocks,
            num_bottleneck_blocks=_count(shapes, "generator.bottleneck.r"),
            blend_source=_size(shapes, "generator.final.weight", 0, channels) == channels + 1,
        ),
    )


def infer_discriminator_config(shapes: Shapes, model: ModelConfig) -> DiscriminatorConfig:
    """Read a discriminator's sizes from the names and shapes of its tensors; `model` is the one that it judges."""
    scales = list(dict.fromkeys(m[1] for name in shapes if (m := re.match(r"discs\.(\d+(?:-\d+)?)\.", name))))
    first = f"discs.{scales[0]}." if scales else ""
    spectral_norm = any(name.endswith("weight_orig") for name in shapes)
    weight = "conv.weight_orig" if spectral_norm else "conv.weight"
    blocks = _count(shapes, f"{first}down_blocks.")
    default = DiscriminatorConfig.block_expansion
    widths = [_size(shapes, f"{first}down_blocks.{i}.{weight}", 0, default * 2 ** (i + 1)) for i in range(blocks)]
    block_expansion = (widths[0] + 1) // 2 if widths else default
    seen = _size(shapes, f"{first}down_blocks.0.{weight}", 1, model.image_channels)
    return DiscriminatorConfig(
        scales=[float(scale.replace("-", ".")) for scale in scales],
        block_expansion=block_expansion,
        max_features=_max_features(widths, 2 * block_expansion, DiscriminatorConfig.max_features),
        num_blocks=blocks,
        spectral_norm=spectral_norm,
        use_keypoints=seen > model.image_channels,
    )


def _size(shapes: Shapes, name: str, axis: int, default: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else default


def _count(shapes: Shapes, prefix: str) -> int:
    """Blocks numbered from 0 under a prefix, by the highest number (but no more than there are tensors)."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,4})\.")
    numbers = [int(match[1]) for name in shapes if (match := pattern.match(name))]
    return min(max(numbers, default=-1) + 1, len(numbers))


def _max_features(widths: list[int], first: int, default: int) -> int:
    """The cap on channels that should double from `first` on."""
    for level, width in enumerate(widths):
        if width < first * 2**level:
            return width
    return max(default, widths[-1] if widths else 0)


def _hourglass(shapes: Shapes, prefix: str, defaults: type[DetectorConfig] | type[DenseMotionConfig]) -> dict[str, int]:
    blocks = _count(shapes, f"{prefix}encoder.down_blocks.")
    width = _size(shapes, f"{prefix}decoder.up_blocks.{blocks - 1}.conv.weight", 0, defaults.block_expansion)
    widths = [width] + [
        _size(shapes, f"{prefix}encoder.down_blocks.{i}.conv.weight", 0, width * 2 ** (i + 1)) for i in range(blocks)
    ]
    return {
        "block_expansion": width,
        "max_features": _max_features(widths, width, defaults.max_features),
        "num_blocks": blocks,
    }


def _scale_factor(shapes: Shapes, name: str) -> float:
    """From the side of the blur kernel, 4 (1 / scale) - 3; there is none at scale 1."""
    return 4 / (_size(shapes, name, 3, 1) + 3)


def _check_metadata(metadata: Mapping[str, Any], path: Path) -> None:
    """What is handed on as it is; the rest is checked where it is used."""
    category, provenance = metadata.get("category"), metadata.get("provenance") or {}
    if category not in (None, *known.CATEGORIES):
        raise InputError(f"{path}: has category {category!r}, not one of {', '.join(known.CATEGORIES)}; write it anew")
    scale = provenance.get("crop_scale", 1) if isinstance(provenance, dict) else None
    if not isinstance(scale, (int, float)) or not 0.5 <= scale <= 10:
        raise InputError(f"{path}: its provenance is no record with a crop_scale from 0.5 to 10; write it anew")


def _stored_config(metadata: Mapping[str, Any], notes: list[str]) -> ModelConfig | None:
    stored = metadata.get("model")
    if stored is None:
        return None
    parts = {"detector": DetectorConfig, "dense_motion": DenseMotionConfig, "generator": GeneratorConfig}
    try:
        return ModelConfig(**{**stored, **{name: cls(**stored[name]) for name, cls in parts.items()}})
    except (TypeError, KeyError) as error:
        notes.append(f"its stored config cannot be used ({error}); sizes were read from the tensors")
        return None


def _with_settings(config: ModelConfig, temperature: float | None, align_corners: bool | None) -> ModelConfig:
    if temperature is not None:
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature {temperature}: must be a positive number; the released models have 0.1")
        config = replace(config, detector=replace(config.detector, temperature=float(temperature)))
    return config if align_corners is None else replace(config, align_corners=align_corners)


class _Uninitialised(TorchFunctionMode):
    """Build networks without drawing initial weights: no time, no random numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


def _build(config: ModelConfig, state: dict[str, Tensor], path: Path) -> FOMM:
    """The model with these weights, after every check."""
    try:
        with _Uninitialised():  # the file's tensors take the places
            model = FOMM.from_config(config)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path}: its tensors describe no possible model ({error}); it is damaged or of another project"
        ) from error
    expected = model.state_dict()
    for name, tensor in expected.items():  # counters that some versions of torch leave out, and nothing reads
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype))
    _compare(state, expected, str(path))
    _require_finite(state, path)
    model.load_state_dict({name: state[name].to(expected[name].dtype) for name in expected}, assign=True)
    return model


def _compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    faults = []
    if missing := [name for name in expected if name not in state]:
        faults.append(f"{len(missing)} missing: {', '.join(missing)}")
    if unexpected := [name for name in state if name not in expected]:
        faults.append(f"{len(unexpected)} unexpected: {', '.join(unexpected)}")
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if misshapen:
        faults.append(f"{len(misshapen)} misshapen: {', '.join(misshapen)}")
    if faults:
        raise InputError(f"{what}: not the tensors of this network ({'; '.join(faults)}); use an unaltered checkpoint")


def _check_optimizer(optimizer: dict[str, Any] | None, parameters: Iterable[Tensor], what: str) -> None:
    """The moments belong to these parameters, in this order (torch 1.0 numbered them by memory address)."""
    if optimizer is None:
        return
    try:
        numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
        moments = [optimizer["state"].get(number, {}).get("exp_avg") for number in numbers]
        shapes = [None if moment is None else tuple(moment.shape) for moment in moments]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{what}: not the state of an Adam ({error!r}); use an unaltered checkpoint") from error
    expected = [tuple(parameter.shape) for parameter in parameters]
    if len(shapes) != len(expected) or any(a not in (None, b) for a, b in zip(shapes, expected, strict=True)):
        raise InputError(f"{what}: belongs to other networks; use an unaltered checkpoint")


def _not_finite(state: Mapping[str, Tensor]) -> list[str]:
    # A finite sum proves finite numbers, several times faster.
    return [n for n, t in state.items() if t.is_floating_point() and not (t.sum().isfinite() or t.isfinite().all())]


def _require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    if bad := _not_finite(state):
        raise InputError(f"{path}: NaN or infinite numbers in {', '.join(bad)}; use an earlier checkpoint")


def _doubts(path: Path, entry: known.KnownCheckpoint, *, by_name: bool) -> list[str]:
    """Notes on a file that passes for a known checkpoint without proof."""
    if entry.embedded or by_name and entry.md5:
        return []
    if entry.md5 is None:
        return [f"no hash of {entry.name} is published, so this file could not be verified"]
    if hash_file(path, "md5") != entry.md5:
        return [f"it has the name of the released {entry.name} but not its md5: another file, or an altered one"]
    return []


# ---- files ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> _Contents:
    """Read any of the formats.

    Raises:
        InputError: something else, or damaged.
    """
    if inspect(path) == "safetensors":
        with _telling_damage(path):
            return _read_weights(path)
    content = _unpickle(path)
    if "generator" in content and "kp_detector" in content:
        return _read_original(content, path)
    if "state_dict" in content:
        return _read_training(content, path)
    raise InputError(
        f"{path}: a dictionary of something else (keys {_some(content)}); a checkpoint has generator and kp_detector, "
        "or state_dict: give one of those"
    )


def _unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch.save, old or new.

    Raises:
        InputError: something else, damaged, or a file that would call something.
    """
    kind = inspect(path)
    with _telling_damage(path):
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(record.file_size for record in archive.infolist())
            if unpacked > path.stat().st_size:  # torch.save never compresses
                raise InputError(
                    f"{path}: refused, because it unpacks to {unpacked:,} bytes; use an unaltered checkpoint"
                )
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a checkpoint; give a checkpoint of this model")
    return content


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except pickle.UnpicklingError as error:
        if match := re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", str(error)):
            raise InputError(
                f"{path}: refused, because loading it would call `{match[1]}`, and a checkpoint must hold only tensors "
                "and plain values; use one from a source that you trust"
            ) from error
        raise InputError(f"{path}: damaged or incomplete ({_first_line(error)}); download or copy it again") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # torch's readers raise many kinds for damaged files
        raise InputError(f"{path}: damaged or incomplete ({_first_line(error)}); download or copy it again") from error


def _read_original(content: dict[str, Any], path: Path) -> _Contents:
    generator, detector = (_tensors(content[key], f"{path}: {key}") for key in ("generator", "kp_detector"))
    state = {f"detector.{name}": tensor for name, tensor in detector.items()}
    for name, tensor in generator.items():
        inner = name.startswith(_DENSE_MOTION)
        state["dense_motion." + name.removeprefix(_DENSE_MOTION) if inner else f"generator.{name}"] = tensor
    discriminator = content.get("discriminator")
    networks = ("generator", "discriminator", "kp_detector")
    optimizers = {f"optimizer_{network}": content.get(f"optimizer_{network}") for network in networks}
    training = TrainingState(
        discriminator=None if discriminator is None else _tensors(discriminator, f"{path}: discriminator"),
        epoch=content.get("epoch"),
        **optimizers,
    )
    return _Contents("original", state, {}, training, [])


def _read_training(content: dict[str, Any], path: Path) -> _Contents:
    everything = _tensors(content["state_dict"], f"{path}: state_dict")
    averaged = any(name.startswith("average.") for name in everything)
    state = _inside(everything, "average." if averaged else "model.")
    if not state:
        raise InputError(f"{path}: a checkpoint of another project (tensors {_some(everything)}); give one of fomm's")
    told = content.get("fomm")
    metadata = dict(told) if isinstance(told, dict) else {}
    metadata["model"] = content.get("model_config")
    training = TrainingState(discriminator=_inside(everything, "discriminator.") or None, epoch=content.get("epoch"))
    return _Contents("training", state, metadata, training, ["averaged weights"] if averaged else [])


def _read_weights(path: Path) -> _Contents:
    with safetensors.safe_open(path, "pt") as stream:
        metadata = json.loads((stream.metadata() or {}).get("fomm", "{}"))
        state = {name: stream.get_tensor(name) for name in stream.keys()}
    version = metadata.get("format_version", FORMAT_VERSION)
    if version > FORMAT_VERSION:
        raise InputError(f"{path}: format version {version}, but only {FORMAT_VERSION} is known; install a newer fomm")
    return _Contents("weights", state, metadata, TrainingState(), [])


def _tensors(state: object, what: str) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"{what}: must hold named tensors only; use an unaltered checkpoint")
    return state


def _inside(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _some(names: Mapping[Any, object]) -> str:
    return ", ".join(str(name)[:60] for name in list(names)[:5]) or "none"


def _first_line(error: BaseException) -> str:
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:160]
