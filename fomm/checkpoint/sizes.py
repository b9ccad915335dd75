"""Names and shapes of tensors -> the configuration of the networks that they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from fomm.model import DenseMotionConfig, DetectorConfig, DiscriminatorConfig, GeneratorConfig, ModelConfig
from fomm.model.face import FaceConfig

Shapes = Mapping[str, tuple[int, ...]]

# What a file may say of sizes: far more than any model has, and still built in no time.
_LIMITS: dict[str, tuple[float, float]] = {
    "num_keypoints": (1, 1000),
    "image_channels": (1, 16),
    "block_expansion": (1, 4096),
    "max_features": (1, 65536),
    "num_blocks": (0, 12),
    "num_down_blocks": (0, 12),
    "num_bottleneck_blocks": (0, 200),
    "scale_factor": (1 / 64, 1),
    "temperature": (1e-6, 1e6),
    "width": (1, 4096),
    "scales": (1 / 64, 1),
}


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """What the functions below read: no numbers."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def require_possible(config: Any) -> None:
    """Raises ValueError for a configuration, of a file, whose sizes nobody could mean."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            require_possible(value)
        elif field.name not in _LIMITS:
            if not isinstance(value, bool):
                raise ValueError(f"{field.name} is {str(value)[:40]!r}, must be true or false")
        else:
            low, high = _LIMITS[field.name]
            whole = isinstance(low, int)
            for number in value if field.name == "scales" else [value]:
                kinds = (int,) if whole else (int, float)
                if isinstance(number, bool) or not isinstance(number, kinds) or not low <= number <= high:
                    what = "a whole number" if whole else "a number"
                    raise ValueError(f"{field.name} is {str(number)[:40]!r}, must be {what} from {low:g} to {high:g}")


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
    widths = [width, *_widths(shapes, "generator.down_blocks.{}.conv.weight", down_blocks, width)]
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


def infer_face_config(shapes: Shapes) -> FaceConfig:
    """Read the sizes of a model `face` from the names and shapes of its tensors."""
    return FaceConfig(width=_size(shapes, "generator.first.0.weight", 0, FaceConfig.width))


def infer_discriminator_config(shapes: Shapes, model: ModelConfig) -> DiscriminatorConfig:
    """Read a discriminator's sizes from the names and shapes of its tensors; `model` is the one that it judges."""
    scales = list(dict.fromkeys(m[1] for name in shapes if (m := re.match(r"discs\.(\d{1,9}(?:-\d{1,9})?)\.", name))))
    first = f"discs.{scales[0]}." if scales else ""
    spectral_norm = any(name.endswith("weight_orig") for name in shapes)
    weight = "conv.weight_orig" if spectral_norm else "conv.weight"
    blocks = _count(shapes, f"{first}down_blocks.")
    default = DiscriminatorConfig.block_expansion
    widths = _widths(shapes, first + "down_blocks.{}." + weight, blocks, default)
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


def _widths(shapes: Shapes, names: str, blocks: int, first: int) -> list[int]:
    """Channels that blocks make, where a tensor is missing each twice as many as the one before."""
    return [_size(shapes, names.format(i), 0, first * 2 ** (i + 1)) for i in range(blocks)]


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
    widths = [width, *_widths(shapes, prefix + "encoder.down_blocks.{}.conv.weight", blocks, width)]
    return {
        "block_expansion": width,
        "max_features": _max_features(widths, width, defaults.max_features),
        "num_blocks": blocks,
    }


def _scale_factor(shapes: Shapes, name: str) -> float:
    """From the side of the blur kernel, 4 (1 / scale) - 3; there is none at scale 1."""
    return 4 / (_size(shapes, name, 3, 1) + 3)
