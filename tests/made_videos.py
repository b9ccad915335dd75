"""Clips for tests, written straight with PyAV, and what can be heard and read in one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8


def numbered(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture that shows a number as 8 black or white columns, to be told apart after any codec."""
    columns = [255 if index >> bit & 1 else 0 for bit in range(BITS)]
    row = np.repeat(np.array(columns, np.uint8), -(-width // BITS))[:width]
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2).copy()


def number_in(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    step = -(-width // BITS)
    centres = [min(width - 1, bit * step + step // 2) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if image[height // 2, x].mean() > 127)


def tone(start: Fraction, seconds: float, rate: int, beeps: bool = True) -> np.ndarray:
    """Mono sound whose 1 kHz beeps of 0.1 s begin at each whole second of the clock on which it starts at `start`."""
    t = np.arange(round(seconds * rate)) / rate + float(start)
    on = (t % 1.0 < 0.1) & (t >= -1e-9) if beeps else np.zeros_like(t, bool)
    return (np.sin(2 * np.pi * 1000 * t) * 0.5 * on).astype(np.float32)


def make_clip(
    path: Path,
    times: list[Fraction],
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    clock: Fraction = Fraction(1, 90000),
    aspect: Fraction | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    draw=numbered,
    sound: tuple[str, Fraction, float] | None = None,
    rate: int = 48000,
    gop: int = 12,
    shift: Fraction = Fraction(0),
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip straight with PyAV, independent of `VideoWriter`. sound: (codec, start, seconds)."""
    with av.open(str(path), "w") as container:
        nominal = 1 / (times[1] - times[0]) if len(times) > 1 else Fraction(30)
        stream = container.add_stream(codec, rate=nominal, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = stream.time_base = clock
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        if sound:
            audio = container.add_stream(sound[0], rate=rate, layout="mono")
            audio.codec_context.time_base = Fraction(1, rate)
        packets = []
        for index, moment in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(index, *size), "rgb24")
            if codec not in ("qtrle", "png"):
                frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = round((moment + shift) / clock), clock
            packets += stream.encode(frame)
        packets += stream.encode(None)
        container.start_encoding()
        if sound:
            frame = av.AudioFrame.from_ndarray(tone(sound[1], sound[2], rate)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round((sound[1] + shift) * rate)
            packets += audio.encode(frame) + audio.encode(None)
        packets.sort(key=lambda p: p.dts * p.time_base)
        container.mux(packets)
    return path


def steady(count: int, fps: Fraction | int = 30) -> list[Fraction]:
    return [index / Fraction(fps) for index in range(count)]


def beeps_in(path: Path) -> list[float]:
    """Times at which sound begins after silence, on the clock of the file's first video frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin = next(container.decode(stream)).pts * stream.time_base
    found, last_loud = [], -1.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            values = frame.to_ndarray().astype(np.float64)
            if not frame.format.is_planar:
                values = values.reshape(-1, frame.layout.nb_channels).T
            if frame.format.name.startswith("s16"):
                values /= 32768
            loud = np.flatnonzero(np.abs(values).max(axis=0) > 0.1) / frame.sample_rate
            for moment in loud + float(frame.pts * frame.time_base - origin):
                if moment - last_loud > 0.3:
                    found.append(moment)
                last_loud = moment
    return found


def audio_codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.audio[0].codec_context.name
