"""What the numbers of a video or a photo mean as light, and what they are in sRGB, as all pictures here are.

Photos are converted by the profile that they carry; those without are sRGB, as in browsers. Videos without a tag, and
those of the usual kind (BT.601, BT.709, sRGB), are taken as sRGB as they stand, as browsers do, too. What is converted:
HDR, and wide primaries. Nothing of FFmpeg's is used for it: its filter `zscale` is not in PyAV's wheels, and swscale's
own conversion builds a table for seconds for each size and part of a frame.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageCms

# Codes of transfer functions and primaries in files: ITU-T H.273, tables 2 and 3.
UNSPECIFIED, _LINEAR, PQ, HLG = 2, 8, 16, 18
BT2020 = 9
_DCI_P3, _DISPLAY_P3 = 11, 12
_WHITE = 0.3127, 0.3290  # D65
_SRGB_XY = (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)  # x, y of red, green, blue: BT.709
_P3_XY = (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)  # SMPTE EG 432-1
_WIDE_XY = {BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), _DCI_P3: _P3_XY, _DISPLAY_P3: _P3_XY}  # BT.2020
_PQ_WHITE_NITS = 203  # ITU-R BT.2408: diffuse white of HDR content, which becomes white here
_HLG_WHITE = 0.75  # the same, as a signal
_KNEE = 0.9  # light up to here, of 1 for white, is kept as it is; highlights share what is left
_STRIP_ROWS = 64  # converted at once: memory stays small, and in the processor's cache


@lru_cache(maxsize=16)
def to_srgb(transfer: int, primaries: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """What makes sRGB of a video's pixels; None where they are taken as they stand.

    HDR is mapped so that diffuse white becomes white and everything darker keeps its light; brighter things come close
    to white without losing their hue. HLG is taken as light of the scene (BT.2100's inverse OETF): the contrast that a
    bright screen would add is left out.

    Args:
        transfer, primaries: codes of H.273.

    Returns: (H, W, 3) uint16, full range -> (H, W, 3) uint8.
    """
    hdr = transfer in (PQ, HLG, _LINEAR)
    if hdr and primaries == UNSPECIFIED:
        primaries = UNSPECIFIED if transfer == _LINEAR else BT2020
    if not hdr and primaries not in _WIDE_XY:
        return None
    light_of = _light_table(transfer)
    to_xyz = _rgb_to_xyz(_WIDE_XY.get(primaries, _SRGB_XY))
    matrix = (np.linalg.inv(_rgb_to_xyz(_SRGB_XY)) @ to_xyz).astype(np.float32)
    byte_of = _byte_table()

    def convert(pixels: np.ndarray) -> np.ndarray:
        result = np.empty(pixels.shape, np.uint8)
        for top in range(0, len(pixels), _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            light = cv2.transform(light_of[pixels[rows]], matrix)
            if hdr:
                _roll_off(light)
            result[rows] = byte_of[(np.clip(light, 0, 1) * 65535 + 0.5).astype(np.uint16)]
        return result

    return convert


def _roll_off(light: np.ndarray) -> None:
    """Bring what is brighter than the knee below 1, in place: t -> t / (1 + t) of what is left above the knee."""
    brightest = light.max(axis=2)
    bright = brightest > _KNEE
    if bright.any():
        peak = brightest[bright]
        above = (peak - _KNEE) / (1 - _KNEE)
        light[bright] *= ((_KNEE + (1 - _KNEE) * above / (1 + above)) / peak)[:, None]


def _light_table(transfer: int) -> np.ndarray:
    """(65536,) float32: light of each signal, 1 for white."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:  # SMPTE ST 2084: of 10000 nits
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = signal ** (1 / m2)
        light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (10000 / _PQ_WHITE_NITS)
    elif transfer == HLG:
        light = _hlg_light(signal) / _hlg_light(np.array(_HLG_WHITE))
    elif transfer == _LINEAR:
        light = signal
    else:
        light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


@lru_cache(maxsize=1)
def _byte_table() -> np.ndarray:
    """(65536,) uint8: sRGB of light (IEC 61966-2-1)."""
    light = np.arange(65536) / 65535
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (signal * 255).round().astype(np.uint8)


def _rgb_to_xyz(primaries_xy: tuple[tuple[float, float], ...]) -> np.ndarray:
    """(3, 3): colours of which (1, 1, 1) is the white D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (*primaries_xy, _WHITE)]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


def photo_in_srgb(picture: Image.Image) -> Image.Image:
    """The same picture by the meaning that its colour profile gives it: RGB or RGBA, or unchanged without a profile.

    A profile that cannot be used, or is for another kind of picture, is passed over, as browsers do.
    """
    profile = picture.info.get("icc_profile")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    if not profile or picture.mode.startswith("I") or picture.mode == "F":
        return picture
    with suppress(ImageCms.PyCMSError, OSError, ValueError):
        transform = _profile_transform(profile, mode)
        if transform is not None:
            converted = ImageCms.applyTransform(picture.convert(mode), transform)
            assert converted is not None, "it is so only where the picture itself is changed"
            if picture.has_transparency_data:
                converted.putalpha(picture.convert("RGBA").getchannel("A"))
            return converted
    return picture


@lru_cache(maxsize=8)
def _profile_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where nothing changes, or less than rounding does."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if opened.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
        return None
    transform = ImageCms.buildTransform(
        opened,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,  # several threads may use it at once
    )
    if mode == "CMYK":
        return transform
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    colours = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)).convert(mode)
    after = np.asarray(ImageCms.applyTransform(colours, transform), int)
    return transform if np.abs(after - np.asarray(colours.convert("RGB"))).max() > 1 else None


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An ICC profile for files that say that they are sRGB; always the same bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    date = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # else that of today
    return profile[:24] + date + profile[36:]
