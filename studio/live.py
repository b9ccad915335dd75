"""A camera drives a photo."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from fomm.animator import Animator
from infer import Options, Tools, crop_scale
from preprocess.crop import Paster
from preprocess.faces import choose_face
from preprocess.pairing import pair_frame
from studio.shown import shrunk

LIVE_PX = 640  # longer side of the photo in a live picture


class Live:
    """A camera drives a photo, frame by frame: camera picture (h, w, 3) uint8 RGB -> animated picture (H, W, 3).

    The first frame with a face gives the crop and the pose that is taken for the photo's, as does the next one after
    `set_neutral`. The crop stays where it is in between.

    Args:
        photo: (H, W, 3) uint8 RGB; large ones are shrunk, nobody sees the difference live.
        setting: whatever tells the caller that this is still the one that is wanted.
        size: side of the animated picture in pixels, a multiple of the model's stride; the time grows with its square.
    """

    def __init__(self, tools: Tools, photo: np.ndarray, setting: object, *, size: int) -> None:
        self.setting = setting
        self._photo = shrunk(photo, LIVE_PX)
        self._face = choose_face(tools.finder.find(self._photo), None, "photo")
        self._finder, self._size, self._scale = tools.finder, size, crop_scale(Options("", "", ""), tools)
        animator = tools.animator
        device, precision = str(animator.device), animator.precision
        self._animator = Animator(animator.model, device=device, precision=precision, batch_size=1)
        self._waiting: deque[np.ndarray] = deque()
        self.set_neutral()

    def set_neutral(self) -> None:
        """Take the next frame's pose for the photo's."""
        self._pairing = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Raises InputError as long as no face was seen: it says what to do."""
        if self._pairing is None:
            self._begin(frame)
        self._waiting.append(self._pairing.view(frame))
        return self._paste(next(self._pictures))

    def _begin(self, frame: np.ndarray) -> None:
        pairing = pair_frame(self._photo, self._face, frame, self._finder, size=self._size, scale=self._scale)
        self._pictures = self._animator.animate(pairing.source, self._views(), initial=pairing.initial)
        self._paste = Paster(self._photo, pairing.source_crop)
        self._pairing = pairing

    def _views(self) -> Iterator[np.ndarray]:
        while True:
            yield self._waiting.popleft()
