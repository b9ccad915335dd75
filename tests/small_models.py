"""A small model of the paper for tests, on pictures of 64x64."""

from __future__ import annotations

from fill import fill_model

from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig


def small_model(num_keypoints: int = 5) -> FOMM:
    """Filled weights, so that keypoints spread and move."""
    config = ModelConfig(
        num_keypoints=num_keypoints,
        detector=DetectorConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
        dense_motion=DenseMotionConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
        generator=GeneratorConfig(block_expansion=8, max_features=32, num_down_blocks=2, num_bottleneck_blocks=1),
    )
    return fill_model(FOMM.from_config(config))
