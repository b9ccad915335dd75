"""The First Order Motion Model, composed of its three networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from fomm.model.dense_motion import DenseMotion, Motion
from fomm.model.discriminator import MultiScaleDiscriminator
from fomm.model.generator import Generator
from fomm.model.geometry import Keypoints
from fomm.model.keypoint_detector import KeypointDetector


@dataclass(frozen=True)
class DetectorConfig:
    """Size and behaviour of the keypoint detector (`KeypointDetector` explains each).

    Args:
        block_expansion: channels at full resolution.
        max_features: channels at most.
        num_blocks: halvings in the hourglass.
        scale_factor: the detector sees the frame shrunk by this factor.
        temperature: of the spatial softmax.
        estimate_jacobian: predict local affine frames; otherwise they are the identity.
        single_jacobian_map: one jacobian map that all keypoints share (mgif).
    """

    block_expansion: int = 32
    max_features: int = 1024
    num_blocks: int = 5
    scale_factor: float = 0.25
    temperature: float = 0.1
    estimate_jacobian: bool = True
    single_jacobian_map: bool = False


@dataclass(frozen=True)
class DenseMotionConfig:
    """Size and behaviour of the dense motion network (`DenseMotion` explains each).

    Args:
        block_expansion: channels at full resolution.
        max_features: channels at most.
        num_blocks: halvings in the hourglass.
        scale_factor: the network works on the frame shrunk by this factor.
        estimate_occlusion: predict where the source does not show what is needed.
    """

    block_expansion: int = 64
    max_features: int = 1024
    num_blocks: int = 5
    scale_factor: float = 0.25
    estimate_occlusion: bool = True


@dataclass(frozen=True)
class GeneratorConfig:
    """Size of the generator (`Generator` explains each).

    Args:
        block_expansion: channels at full resolution.
        max_features: channels at most.
        num_down_blocks: halvings between picture and features.
        num_bottleneck_blocks: residual blocks at the coarsest level.
        blend_source: predict a matte and let the warped source show through (small models; no released one).
    """

    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    num_bottleneck_blocks: int = 6
    blend_source: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines the networks; the defaults are those of all released 256x256 models.

    Args:
        num_keypoints: K.
        image_channels: colours of a picture.
        align_corners: convention of every warp (`fomm.model.geometry.warp`); True for the released checkpoints.
        detector: the keypoint detector.
        dense_motion: the dense motion network.
        generator: the generator.
    """

    num_keypoints: int = 10
    image_channels: int = 3
    align_corners: bool = True
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    dense_motion: DenseMotionConfig = field(default_factory=DenseMotionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size and behaviour of the discriminator, which only training needs (`MultiScaleDiscriminator` explains each).

    Args:
        scales: sizes of the frame that it sees, each 1 / a whole number.
        block_expansion: half the channels of the first block.
        max_features: channels at most.
        num_blocks: blocks at each scale.
        spectral_norm: constrain every convolution.
        use_keypoints: show the driving keypoints' heatmaps beside the colours.
    """

    scales: list[float] = field(default_factory=lambda: [1.0])
    block_expansion: int = 32
    max_features: int = 512
    num_blocks: int = 4
    spectral_norm: bool = False
    use_keypoints: bool = False

    def build(self, model: ModelConfig) -> MultiScaleDiscriminator:
        """The discriminator that judges frames of such a model."""
        return MultiScaleDiscriminator(
            num_keypoints=model.num_keypoints, image_channels=model.image_channels, **asdict(self)
        )


class EncodedSource(NamedTuple):
    """All that is computed from the source picture, once.

    Attributes:
        image: (B, C, H, W) in [0, 1].
        small: (B, C, h, w), shrunk for the dense motion network.
        features: (B, F, h', w'), the generator's.
        keypoints: the source's.
    """

    image: Tensor
    small: Tensor
    features: Tensor
    keypoints: Keypoints


class Output(NamedTuple):
    """A generated frame and how it came about.

    Attributes:
        prediction: (B, C, H, W) in [0, 1].
        motion: the dense motion behind it.
        source_keypoints, driving_keypoints: what the motion was computed from.
    """

    prediction: Tensor
    motion: Motion
    source_keypoints: Keypoints
    driving_keypoints: Keypoints


class FOMM(nn.Module):
    """First Order Motion Model (arXiv 2003.00196).

    Call: source and driving (B, C, H, W) in [0, 1], sides multiples of `stride` -> Output: the source in the
    driving frame's pose, with absolute keypoints, as in training.
    """

    def __init__(
        self, detector: KeypointDetector, dense_motion: DenseMotion, generator: Generator, config: ModelConfig
    ):
        super().__init__()
        self.detector = detector
        self.dense_motion = dense_motion
        self.generator = generator
        self.config = config

    @classmethod
    def from_config(cls, config: ModelConfig) -> FOMM:
        """Build the networks with fresh (untrained) weights."""
        count, channels, align_corners = config.num_keypoints, config.image_channels, config.align_corners
        return cls(
            KeypointDetector(num_keypoints=count, image_channels=channels, **asdict(config.detector)),
            DenseMotion(
                num_keypoints=count, image_channels=channels, align_corners=align_corners, **asdict(config.dense_motion)
            ),
            Generator(image_channels=channels, align_corners=align_corners, **asdict(config.generator)),
            config,
        )

    @property
    def stride(self) -> int:
        """Each side of a picture must be a multiple of this (128 for the released models)."""
        detector, dense_motion = self.config.detector, self.config.dense_motion
        return max(
            round(2**detector.num_blocks / detector.scale_factor),
            round(2**dense_motion.num_blocks / dense_motion.scale_factor),
            2**self.config.generator.num_down_blocks,
        )

    def detect(self, frame: Tensor) -> Keypoints:
        """Keypoints of frames (B, C, H, W) in [0, 1]."""
        return self.detector(frame)

    def encode_source(self, source: Tensor) -> EncodedSource:
        """Do once what depends on the source (B, C, H, W) alone.

        Raises:
            ValueError: a side is not a multiple of `stride`.
        """
        height, width = source.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"picture of {width}x{height}: each side must be a multiple of {self.stride}; resize it")
        return EncodedSource(source, self.dense_motion.down(source), self.generator.encode(source), self.detect(source))

    def animate(self, source: EncodedSource, driving: Keypoints) -> Output:
        """The source in the pose that `driving` (batch B) says; a source of batch 1 serves all B."""
        count = len(driving.points)
        if len(source.image) != count:
            image, small, features = (x.expand(count, -1, -1, -1) for x in source[:3])
            keypoints = Keypoints(*(x.expand(count, *x.shape[1:]) for x in source.keypoints))
            source = EncodedSource(image, small, features, keypoints)
        motion = self.dense_motion(source.small, source.keypoints, driving)
        prediction = self.generator.decode(source.features, motion, source.image)
        return Output(prediction, motion, source.keypoints, driving)

    def deformed(self, source: Tensor, motion: Motion) -> Tensor:
        """The source (B, C, H, W) warped by the motion, without the generator: for looking at."""
        return self.generator.deform(source, motion.deformation)

    def forward(self, source: Tensor, driving: Tensor) -> Output:
        return self.animate(self.encode_source(source), self.detect(driving))
