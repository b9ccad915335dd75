"""Load a model, or what else a checkpoint holds, after every check.

No config is needed. What tensors tell by name and shape is read from them; what they cannot tell (temperature,
`align_corners`, category, frame size) comes from the file's own metadata, else from the table of known checkpoints
(`fomm.known`), else from its defaults, and the caller may override it. The formats: see `formats`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fomm.checkpoint.architectures import ARCHITECTURES, FOMM_NAME, Architecture, Config, Model, name_of
from fomm.checkpoint.formats import Contents, TrainingState, not_finite, read_contents, some, unpickle
from fomm.checkpoint.sizes import infer_discriminator_config, require_possible, shapes_of
from fomm.download import inspect
from fomm.errors import InputError
from fomm.files import hash_file
from fomm.known import CATEGORIES, UNKNOWN, KnownCheckpoint, find_known, resolve
from fomm.model import FOMM, ModelConfig

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class CheckpointInfo:
    """What is known about loaded weights.

    Attributes:
        path: the file.
        sha256: its hash.
        format: "original", "training" or "weights".
        name: of the known checkpoint it was asked for by, or whose file name it has.
        category: what it animates, one of `fomm.known.CATEGORIES`.
        image_size: side of the square frames that it was trained on, pixels (a `FaceModel` takes others as well).
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

    @property
    def title(self) -> str:
        """What it is called in a sentence: its name, or its file's."""
        return self.name or self.path.name


class LoadedModel(NamedTuple):
    """A model in evaluation mode, on the CPU, in float32, and where it came from."""

    model: Model
    info: CheckpointInfo


class InitReport(NamedTuple):
    """What `Checkpoint.initialize` did: names of tensors of the model, and of the checkpoint for `unused`."""

    loaded: list[str]
    fresh: list[str]
    unused: list[str]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint, read once, for everything that is in it.

    Attributes:
        path: the file.
        known: the known checkpoint that it was asked for by, or whose file name it has.
        architecture: which model it holds, of `fomm.checkpoint.architectures.ARCHITECTURES`.
        contents: what is in the file, not yet judged.
        notes: what a user should know about the file, one sentence each.
    """

    path: Path
    known: KnownCheckpoint | None
    architecture: str
    contents: Contents
    notes: tuple[str, ...]

    @classmethod
    def read(cls, source: str | Path, *, progress: bool = True) -> Checkpoint:
        """Read a file, or a known checkpoint by its name (downloaded if need be).

        Args:
            source: a path, or a name in `fomm.known.KNOWN`.
            progress: show a bar while downloading.

        Raises:
            InputError: no such file or name, something else than a checkpoint, a model that is not known here, a
                damaged file, a wrong hash.
            MissingWeightsError: known, but not on this machine and nowhere to be fetched.
        """
        path, asked_for = resolve(source, progress=progress)
        contents = read_contents(path)
        entry = asked_for or find_known(path)
        doubts = [] if entry is None else _doubts(path, entry, by_name=asked_for is not None)
        _check_metadata(contents.metadata, path)
        # Files that do not say what they hold are FOMMs.
        architecture = contents.metadata.get("architecture", FOMM_NAME)
        if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
            raise InputError(
                f"{path}: holds a model {str(architecture)[:40]!r}, known are {', '.join(ARCHITECTURES)}; "
                "install a newer fomm"
            )
        return cls(path, entry, architecture, contents, (*contents.notes, *doubts))

    def expect(self, architecture: str) -> None:
        """Raises InputError where it holds another model than this."""
        if self.architecture != architecture:
            raise InputError(
                f"{self.path}: holds a model {self.architecture!r}, but {architecture!r} is wanted; give a checkpoint "
                "of that model"
            )

    def model(
        self,
        *,
        temperature: float | None = None,
        align_corners: bool | None = None,
        category: str | None = None,
        image_size: int | None = None,
    ) -> LoadedModel:
        """The model, which takes the tensors that were read.

        Args:
            temperature: of a FOMM's keypoint softmax. By default the file's, else the known checkpoint's, else 0.1.
            align_corners: convention of a FOMM's warps. By default the file's, else the known checkpoint's, else True.
            category: what it animates, of `fomm.known.CATEGORIES`. By default the file's, else the known checkpoint's.
            image_size: side of its frames, pixels. By default the file's, else the known checkpoint's, else 256.

        Raises:
            InputError: missing, unexpected or misshapen tensors (all are named), numbers that are not finite, a
                setting that the model has not.
        """
        _check_category(category)
        told, notes, defaults = self.contents.metadata, list(self.notes), self.known or UNKNOWN
        kind = ARCHITECTURES[self.architecture]
        config = _stored_config(kind, told, notes)
        if config is None:
            config = kind.infer(shapes_of(self.contents.state))
            if isinstance(config, ModelConfig):
                if self.known is None:
                    settings = f"temperature {defaults.temperature} and align_corners"
                    notes.append(f"not a known checkpoint: {settings} assumed")
                config = _with_settings(config, defaults.temperature, defaults.align_corners)
        if isinstance(config, ModelConfig):
            config = _with_settings(config, temperature, align_corners)
        elif temperature is not None or align_corners is not None:
            raise InputError(f"{self.path}: this model has neither temperature nor align_corners; leave them out")
        model = _build(kind, config, self.contents.state, self.path)
        if category is None:
            category = told.get("category") or defaults.category
        if image_size is None:
            image_size = told.get("image_size") or -(-defaults.image_size // model.stride) * model.stride
        if type(image_size) is not int or not 0 < image_size <= 4096 or image_size % model.stride:
            raise InputError(
                f"{self.path}: image_size {image_size!r}: give a positive multiple of {model.stride}, 4096 at most"
            )
        return LoadedModel(
            model.eval(),
            CheckpointInfo(
                path=self.path,
                sha256=hash_file(self.path),
                format=self.contents.format,
                name=self.known.name if self.known else None,
                category=category,
                image_size=image_size,
                epoch=self.contents.training.epoch,
                provenance=told.get("provenance") or {},
                notes=tuple(notes),
            ),
        )

    def model_of(self, kind: type[Network]) -> Network:
        """The model, which is of this class; raises as `model`, and where it is another."""
        name = next(name for name, architecture in ARCHITECTURES.items() if architecture.kind is kind)
        self.expect(name)
        model = self.model().model
        assert isinstance(model, kind)
        return model

    def training_state(self) -> TrainingState:
        """What it holds for going on with a training.

        The optimisers are those of complete checkpoints of the original, or a training run's own as the original has
        them; of networks with frozen parts there is none, since its moments do not fit.

        Raises:
            InputError: not of a FOMM; as for `model`; or a discriminator or optimiser that does not fit.
        """
        self.expect(FOMM_NAME)
        path, training, state = self.path, self.contents.training, self.contents.state
        kind = ARCHITECTURES[FOMM_NAME]
        model = _build(kind, kind.infer(shapes_of(state)), state, path)
        assert isinstance(model, FOMM)
        generator = [*model.dense_motion.parameters(), *model.generator.parameters()]
        detector = [*model.detector.parameters()]
        if self.contents.format == "training":
            for name, own in (("optimizer_generator", generator), ("optimizer_kp_detector", detector)):
                optimizer = getattr(training, name)
                known = len(optimizer["param_groups"][0]["params"]) if optimizer and optimizer["state"] else 0
                if known != len(own):
                    training = replace(training, **{name: None})
        _check_optimizer(training.optimizer_generator, generator, f"{path}: optimizer_generator")
        _check_optimizer(training.optimizer_kp_detector, detector, f"{path}: optimizer_kp_detector")
        if training.discriminator is None:
            return training
        config = infer_discriminator_config(shapes_of(training.discriminator), model.config)
        discriminator = _planned(lambda: config.build(model.config), config, path)
        _compare(training.discriminator, discriminator.state_dict(), f"{path}: discriminator")
        _require_finite(training.discriminator, path)
        parameters = discriminator.parameters()
        _check_optimizer(training.optimizer_discriminator, parameters, f"{path}: optimizer_discriminator")
        return training

    def initialize(self, model: nn.Module) -> InitReport:
        """Copy into a model, in place, all tensors of equal name and shape; the others start afresh.

        Another number of keypoints, say, changes the detector's heads and the ends of the dense motion network, and
        leaves the rest. The resolution may differ at will: the networks are convolutional.

        Args:
            model: a `FOMM` or a `FaceModel` with fresh weights.

        Raises:
            InputError: it holds another model, not one tensor fits, or a number is not finite.
        """
        self.expect(name_of(model))
        state, own = self.contents.state, model.state_dict()
        _require_finite(state, self.path)
        loaded = [name for name in own if name in state and state[name].shape == own[name].shape]
        if not any(own[name].ndim == 4 and not name.endswith("down.weight") for name in loaded):
            raise InputError(
                f"{self.path}: no convolution of it fits this model; give the model sizes like the checkpoint's"
            )
        model.load_state_dict({name: state[name] for name in loaded}, strict=False)
        taken = set(loaded)
        return InitReport(loaded, [name for name in own if name not in taken], [n for n in state if n not in taken])


def load_model(
    source: str | Path,
    *,
    temperature: float | None = None,
    align_corners: bool | None = None,
    category: str | None = None,
    image_size: int | None = None,
    progress: bool = True,
) -> LoadedModel:
    """Load a model from a file, or by the name of a known checkpoint; arguments and errors as for `Checkpoint`."""
    _check_category(category)  # before anything is downloaded
    return Checkpoint.read(source, progress=progress).model(
        temperature=temperature, align_corners=align_corners, category=category, image_size=image_size
    )


def run_checkpoint(path: str | Path) -> dict[str, Any]:
    """All that is in a training run's own checkpoint, from which Lightning can go on.

    Raises:
        InputError: not there, damaged, or another kind of checkpoint.
    """
    path = Path(path)
    content = {} if inspect(path) == "safetensors" else unpickle(path)
    if not {"state_dict", "optimizer_states", "loops"} <= content.keys():
        raise InputError(f"{path}: not a checkpoint of a training run, so nothing can go on from it; give it as --init")
    return content


def _check_category(category: str | None) -> None:
    if category is not None and category not in CATEGORIES:
        raise InputError(f"category {category!r}: must be one of {', '.join(CATEGORIES)}")


def _check_metadata(metadata: Mapping[str, Any], path: Path) -> None:
    """What is handed on as it is; the rest is checked where it is used."""
    category, provenance = metadata.get("category"), metadata.get("provenance") or {}
    if category not in (None, *CATEGORIES):
        raise InputError(f"{path}: has category {category!r}, not one of {', '.join(CATEGORIES)}; write it again")
    scale = provenance.get("crop_scale", 1) if isinstance(provenance, dict) else None
    if not isinstance(scale, (int, float)) or not 0.5 <= scale <= 10:
        raise InputError(f"{path}: its provenance is not a record with a crop_scale from 0.5 to 10; write it again")


def _stored_config(kind: Architecture, metadata: Mapping[str, Any], notes: list[str]) -> Config | None:
    stored = metadata.get("model")
    if stored is None:
        return None
    try:
        return kind.stored(stored)
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

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


def _build(kind: Architecture, config: Config, state: dict[str, Tensor], path: Path) -> Model:
    """The model with these weights, after every check."""
    model = _planned(lambda: kind.build(config), config, path)
    expected = model.state_dict()
    # counters that some versions of torch leave out, and nothing reads
    counters = [name for name in expected if name.endswith("num_batches_tracked")]
    state = {name: torch.zeros((), dtype=expected[name].dtype) for name in counters} | state
    _compare(state, expected, str(path))
    _require_finite(state, path)
    model.load_state_dict({name: state[name].to(expected[name].dtype) for name in expected}, assign=True)
    return model


def _planned(build: Callable[[], Network], config: Any, path: Path) -> Network:
    """A network without memory for its numbers: the file's tensors, once they fit, take their places."""
    try:
        require_possible(config)
        with torch.device("meta"), _Uninitialised():
            return build()
    except (RuntimeError, ValueError, TypeError, OverflowError, ArithmeticError) as error:
        raise InputError(
            f"{path}: its tensors describe no possible model ({error}); it is damaged or of another project"
        ) from error


def _compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    faults = []
    if missing := [name for name in expected if name not in state]:
        faults.append(f"{len(missing)} missing: {some(missing)}")
    if unexpected := [name for name in state if name not in expected]:
        faults.append(f"{len(unexpected)} unexpected: {some(unexpected)}")
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if misshapen:
        faults.append(f"{len(misshapen)} misshapen: {some(misshapen)}")
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


def _require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    if bad := not_finite(state):
        raise InputError(f"{path}: NaN or infinite numbers in {', '.join(bad)}; use an earlier checkpoint")


def _doubts(path: Path, entry: KnownCheckpoint, *, by_name: bool) -> list[str]:
    """Notes on a file that passes for a known checkpoint without proof."""
    if entry.embedded or by_name and entry.md5:
        return []
    if entry.md5 is None:
        return [f"no hash of {entry.name} is published, so this file could not be verified"]
    if hash_file(path, "md5") != entry.md5:
        return [f"it has the name of the released {entry.name} but not its md5: another file, or an altered one"]
    return []
