"""One source picture, encoded once, and a stream of driving frames become a stream of animated frames (Sec. 3.4).

Pictures are (H, W, 3) uint8 RGB; H and W are multiples of the model's `stride`. Nothing here looks for faces: the
frames are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fomm.animator.detail import SourceDetail
from fomm.animator.device import choose_device, lanes_for, processor_units, tf32
from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.model import FOMM, EncodedSource, Output
from fomm.model.geometry import Keypoints, movement_scale, transfer_motion
from fomm.pixels import to_pictures

T = TypeVar("T")
DEFAULT = AnimationSettings()
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_SIZES = {"cpu": 1, "cuda": 16, "mps": 4}
"""Frames at once where the caller does not say: a CPU is as fast one by one, and needs less memory."""


class Animator:
    """Animates pictures with a model, on one device.

    Attributes:
        model: as given, in evaluation mode on the device.
        networks: what computes: a copy of it, rewritten for inference (`fomm.animator.folded`), made when first needed.
        precision: "fp32", "bf16", "fp16", or on a GPU "auto": float32, on CUDA with its TF32 units.

    Args:
        model: its networks are moved to the device and set to evaluation mode.
        device: `auto` takes CUDA, else MPS, else the CPU.
        precision: of the dense motion network and the generator. `fp32` is exact. `auto` is `bf16` on a processor that
            multiplies bfloat16 in hardware (`processor_units`), else `fp32`, on CUDA with its TF32 units. `bf16`
            differs from `fp32` by 52 dB of PSNR with full-size networks (docs/speed.md), `fp16` is for GPUs without
            it. Keypoints are always found in float32: rounding them would make the animation tremble.
        batch_size: driving frames at once; None takes `BATCH_SIZES`. It changes memory and speed, not the result.

    Raises:
        InputError: unknown or missing device, unknown precision or one that the device is no good at, or a batch size
            below 1.
    """

    def __init__(
        self,
        model: FOMM,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
        if batch_size is not None and batch_size < 1:
            raise InputError(
                f"batch_size is {batch_size}, but at least one frame has to be animated at once; give 1 or more"
            )
        self.device = choose_device(device)
        if precision == "fp16" and self.device.type == "cpu":
            raise InputError("precision fp16 takes minutes per frame on a CPU; give --precision fp32, or bf16")
        self._units = processor_units() if self.device.type == "cpu" else set()
        self._chosen = precision == "auto" and self.device.type == "cpu"
        self.precision = ("bf16" if self._units else "fp32") if self._chosen else precision
        self.batch_size = batch_size or BATCH_SIZES[self.device.type]
        self.model = model.eval().to(self.device)
        self._last: tuple[np.ndarray, EncodedSource] | None = None

    def __str__(self) -> str:
        name = f"cuda ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else self.device.type
        precision = {"auto": "tf32" if self.device.type == "cuda" else "fp32"}.get(self.precision, self.precision)
        if self._chosen and precision == "bf16":
            precision += " (this processor is faster with it; --precision fp32 is exact)"
        return f"{name}, {precision}, batches of {self.batch_size}"

    @cached_property
    def networks(self) -> FOMM:
        from fomm.animator.folded import fold  # here, because importing numba takes a fifth of a second

        # Matrix units are so fast that the transforms of the tiles would take longer than the products saved.
        tiles = self.device.type == "cpu" and not ("amx_bf16" in self._units and self.precision == "bf16")
        return fold(self.model, DTYPES.get(self.precision, torch.float32), tiles=tiles)

    @torch.inference_mode()
    def encode(self, source: np.ndarray) -> EncodedSource:
        """All that depends on the source (H, W, 3) uint8 alone; may be animated any number of times.

        The last one is kept: the same picture again costs nothing.

        Raises:
            ValueError: a side is not a multiple of the model's stride.
            InputError: the model's weights are broken (NaN).
        """
        if self._last is not None and np.array_equal(self._last[0], source):
            return self._last[1]
        with self._with_tf32(False):
            encoded = self.networks.encode_source(self._to_device([source]))
        _check_finite(*encoded.keypoints, encoded.features)
        self._last = source.copy(), encoded
        return encoded

    @torch.inference_mode()
    def detect(self, frames: list[np.ndarray]) -> Keypoints:
        """Keypoints of frames (H, W, 3) uint8 of equal size, in float32.

        Raises:
            InputError: the model's weights are broken (NaN).
        """
        keypoints = self._detect(self._to_device(frames))
        _check_finite(*keypoints)
        return keypoints

    def animate(
        self,
        source: np.ndarray | EncodedSource,
        driving: Iterable[np.ndarray],
        settings: AnimationSettings = DEFAULT,
        *,
        initial: np.ndarray | None = None,
        detail: SourceDetail | None = None,
    ) -> Iterator[np.ndarray]:
        """The source (H, W, 3) uint8 in the pose of each driving frame: one (H, W, 3) uint8 picture for each, in order.

        A stream: no more frames are read ahead than are animated side by side (`fomm.animator.lanes`).

        The original starts from the driving frame whose pose is most like the source's and plays forward from it to the
        end and backward from it to the start. The motion of every frame is then relative to that one frame and to
        nothing else, so the same pictures come out when the frames pass once in their own order with that frame as
        `initial`.

        Args:
            source: the picture, or what `encode` made of it.
            driving: frames (h, w, 3) uint8 of equal size.
            settings: of which `relative` (apply the driving's change since `initial` to the source; otherwise its
                keypoints are used as they are) and, unless it is off, `adapt_scale` (enlarge the motion as much as the
                source's keypoints spread wider than the initial frame's).
            initial: the driving frame whose pose is most like the source's; by default the first.
            detail: the photo that the source was made of: the pictures then are this photo in motion, of its size and
                with its own detail where it shows what is needed.

        Raises:
            ValueError: a side is not a multiple of the model's stride.
            InputError: the model's weights are broken (NaN).
        """

        def pictures(output: Output) -> Iterable[np.ndarray]:
            if detail is None:
                return to_pictures(output.prediction)
            return list(detail.pictures(output, align_corners=self.model.config.align_corners))

        for made in self._stream(source, driving, settings, initial, pictures):
            yield from made

    def outputs(
        self,
        source: np.ndarray | EncodedSource,
        driving: Iterable[np.ndarray],
        settings: AnimationSettings = DEFAULT,
        *,
        initial: np.ndarray | None = None,
    ) -> Iterator[Output]:
        """As `animate`, but all that the model computes, one batch at a time and on the device."""
        yield from self._stream(source, driving, settings, initial, lambda output: output)

    def _stream(
        self,
        source: np.ndarray | EncodedSource,
        driving: Iterable[np.ndarray],
        settings: AnimationSettings,
        initial: np.ndarray | None,
        finish: Callable[[Output], T],
    ) -> Iterator[T]:
        """What `finish` makes of each batch, in the thread that worked on it."""
        batches = batched(driving, self.batch_size)
        first = next(batches, None)
        if first is None:
            return
        follow = self.follower(source, first[0] if initial is None else initial, settings)
        with lanes_for(self.device) as lanes:
            yield from lanes.map(lambda batch: finish(follow(batch)), chain([first], batches))

    def follower(
        self,
        source: np.ndarray | EncodedSource,
        initial: np.ndarray,
        settings: AnimationSettings = DEFAULT,
    ) -> Callable[[list[np.ndarray]], Output]:
        """What `outputs` does with each batch of driving frames (H, W, 3) uint8, as a function; arguments as there.

        Several threads may call it at once.
        """
        encoded = source if isinstance(source, EncodedSource) else self.encode(source)
        start = self.detect([initial])
        scale = movement_scale(encoded.keypoints, start) if settings.adapt_scale else start.points.new_ones(1)

        @torch.inference_mode()
        def follow(batch: list[np.ndarray]) -> Output:
            try:
                moved = transfer_motion(
                    encoded.keypoints,
                    self._detect(self._to_device(batch)),
                    start,
                    relative=settings.relative,
                    scale=scale,
                )
                output = self._decode(encoded, moved)
            except torch.OutOfMemoryError as error:
                raise InputError(
                    f"batch_size {len(batch)}: so many frames at once do not fit into the memory of {self.device}; "
                    "give fewer"
                ) from error
            _check_finite(output.prediction, *output.driving_keypoints)
            return output

        return follow

    @torch.inference_mode()
    def reconstruction_error(self, source: np.ndarray) -> float:
        """Mean absolute error, of 1, with which the source (H, W, 3) uint8 comes back when nothing moves.

        A model gives a picture of the kind that it was trained on back almost unchanged.
        """
        encoded = self.encode(source)
        prediction = self._decode(encoded, encoded.keypoints).prediction
        _check_finite(prediction)
        return (prediction - encoded.image).abs().mean().item()

    def _detect(self, pictures: Tensor) -> Keypoints:
        with self._with_tf32(False):
            return self.networks.detect(pictures)

    def _decode(self, source: EncodedSource, keypoints: Keypoints) -> Output:
        with self._with_tf32(self.precision != "fp32"):
            return self.networks.animate(source, keypoints)

    def _to_device(self, frames: list[np.ndarray]) -> Tensor:
        pictures = torch.from_numpy(np.stack(frames))
        if self.device.type == "cuda":  # from pinned memory the copy does not hold up this thread
            pictures = pictures.pin_memory().to(self.device, non_blocking=True)
        pictures = pictures.to(self.device).permute(0, 3, 1, 2)  # channels last, which convolutions like
        return pictures.to(torch.float32, memory_format=torch.channels_last) / 255

    def _with_tf32(self, allowed: bool) -> AbstractContextManager:
        """CUDA's convolutions use it unless told otherwise; without it float32 is float32."""
        return tf32(allowed) if self.device.type == "cuda" else nullcontext()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last of what is left."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _check_finite(*tensors: Tensor) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise InputError("the model computes NaN or infinite values: its weights are broken; use another --checkpoint")
