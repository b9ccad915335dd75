"""A photograph's finish: what lens, sensor, film and file do to a picture, put on drawn frames.

A `Finish` is of one camera: source and target of a pair get the same one; its grain is new in every frame.

    finish = random_finish(seed)
    source, target = (finish.on(frame, k) for k, frame in enumerate(pair))
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

_SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)


@dataclass(frozen=True)
class Finish:
    """What is done to a picture, in this order; the defaults do nothing."""

    seed: int = 0
    shrink: float = 1.0  # the picture was this much smaller once
    blur: float = 0.0  # deviation in pixels
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)  # colour cast and exposure
    gamma: float = 1.0
    contrast: float = 1.0  # about the middle grey
    lift: float = 0.0  # -0.2 ... 0.2 added: faded blacks
    grey: float = 0.0  # 0 coloured ... 1 without colour
    sepia: float = 0.0
    grain: float = 0.0  # deviation, of 1
    grain_size: float = 0.0  # deviation of its blur in pixels
    coloured_grain: bool = False
    quality: int = 100  # of JPEG; 100 leaves it out

    def on(self, image: np.ndarray, frame: int = 0) -> np.ndarray:
        """The picture (H, W, 3) uint8 RGB finished; `frame` is the number of its grain."""
        height, width = image.shape[:2]
        x = image.astype(np.float32) * np.float32(1 / 255)
        if self.shrink < 1:
            small = (max(int(width * self.shrink), 8), max(int(height * self.shrink), 8))
            x = cv2.resize(
                cv2.resize(x, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_LINEAR
            )
        if self.blur > 0:
            x = cv2.GaussianBlur(x, (0, 0), self.blur)
        x = np.clip(x * np.asarray(self.gain, np.float32), 0, 1)
        if self.gamma != 1:
            x = x ** np.float32(self.gamma)
        x = (x - 0.45) * np.float32(self.contrast) + np.float32(0.45 + self.lift)
        if self.grey or self.sepia:
            light = x @ np.array([0.299, 0.587, 0.114], np.float32)
            toned = light[..., None] * (1 - self.sepia) + self.sepia * 0.85 * (x @ _SEPIA.T)
            x = x + (toned - x) * max(self.grey, self.sepia)
        if self.grain:
            rng = np.random.default_rng([self.seed, frame, 0x62A])
            noise = rng.standard_normal((height, width, 3 if self.coloured_grain else 1), np.float32)
            if self.grain_size:
                noise = cv2.GaussianBlur(noise, (0, 0), self.grain_size).reshape(noise.shape)
                noise /= noise.std() + 1e-6
            x = x + np.float32(self.grain) * noise
        x = np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8)
        if self.quality < 100:
            ok, data = cv2.imencode(".jpg", x[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, self.quality))
            assert ok
            x = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()
        return x


def random_finish(seed: int) -> Finish:
    """The finish of this seed: often mild, now and then an old, dark, grey, grainy or badly compressed picture."""
    rng = np.random.default_rng([seed, 0xF1])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    cast = 1 + rng.normal(0, 0.04, 3) * (2.5 if rng.random() < 0.12 else 1)
    exposure = float(np.exp(rng.normal(0, 0.16)))
    finish = Finish(
        seed=seed,
        gain=tuple((exposure * cast).tolist()),
        gamma=float(np.exp(rng.normal(0, 0.12))),
        contrast=u(0.85, 1.15),
        lift=u(-0.03, 0.05),
    )
    if rng.random() < 0.35:
        finish = replace(finish, shrink=u(0.45, 1))
    if rng.random() < 0.3:
        finish = replace(finish, blur=u(0.3, 1.2))
    if rng.random() < 0.45:
        finish = replace(
            finish,
            grain=0.004 + 0.05 * float(rng.beta(1, 2.5)),
            grain_size=u(0, 0.8),
            coloured_grain=bool(rng.random() < 0.5),
        )
    if rng.random() < 0.4:
        finish = replace(finish, quality=int(rng.integers(30, 95)))
    old = rng.random()
    if old < 0.10:
        finish = replace(finish, grey=1.0)
    elif old < 0.15:
        finish = replace(finish, sepia=u(0.4, 1))
    elif old < 0.25:
        finish = replace(finish, grey=u(0.2, 0.8))
    if rng.random() < 0.10:
        finish = replace(finish, contrast=u(0.45, 0.8), lift=u(-0.1, 0.12))
    if rng.random() < 0.08:  # a dark scene
        finish = replace(finish, gain=tuple((0.5 * exposure * cast).tolist()), grain=max(finish.grain, 0.015))
    return finish
