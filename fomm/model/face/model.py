"""Model `face`: what is learnt in it (the generator), and a photo put into motion by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from fomm.model.face.chin import with_skin_below_lip
from fomm.model.face.drawn_eyes import with_drawn_eyes
from fomm.model.face.generator import Generator
from fomm.model.face.motion import Face
from fomm.model.face.portrait import Portrait


@dataclass(frozen=True)
class FaceConfig:
    """Args:
    width: channels of the generator's first level.
    """

    width: int = 48


@dataclass(frozen=True, eq=False)
class Sitter:
    """A photo and the face in it that is to be animated.

    Attributes:
        photo: (H, W, 3) uint8 RGB.
        landmarks: (478, 3) in the photo's pixels, see `fomm.model.face.mesh`.
        person: (H, W) float32 in [0, 1], how sure it is that a pixel shows the person; None where that is not known.
        edges: (H, W, 3) uint8, the photo with less noise, whose edges the person's outline follows; None: the photo.
    """

    photo: np.ndarray
    landmarks: np.ndarray
    person: np.ndarray | None = None
    edges: np.ndarray | None = None


class FaceModel(nn.Module):
    """Keypoints are the landmarks of a face mesh, the local motions follow from them, dense motion is computed.

    Attributes:
        config: what it was built from.
        generator: paints what the warp cannot show; the only part with weights.
        stride: of which a picture's sides are multiples: any size will do.
    """

    stride = 1

    def __init__(self, config: FaceConfig | None = None) -> None:
        super().__init__()
        self.config = config or FaceConfig()
        self.generator = Generator(width=self.config.width)

    def portrait(self, sitter: Sitter) -> Portrait:
        """The photo, ready to be put into motion: all that depends on it alone is done here, once."""
        landmarks = with_skin_below_lip(np.asarray(sitter.landmarks, np.float64))
        face = Face(with_drawn_eyes(sitter.photo, landmarks))
        return Portrait(sitter.photo, face, sitter.person, self.generator, sitter.edges)
