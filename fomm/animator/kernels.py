"""The loops of the folded networks that PyTorch has no single step for, compiled by numba.

Arrays are without gaps: pictures (H, W, C), values (tiles, 36, C); tiles go in rows from the top left. What PyTorch
does in five passes over the memory is one here: each step takes all channels of a few pixels, which stay in the
processor's first cache. Sums are of the type of `constants`. bfloat16, which NumPy does not know, is passed as its bits
in uint16 and rounded to the nearest, ties to even. The GIL is free meanwhile.

Only the innermost loops, over channels, have to be fast: they are compiled to vector instructions if they run over
whole lines and nothing in them can be a negative index, which Python counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numba import njit, types
from numba.extending import overload

TILE = 6
"""Side of the tiles in pixels; a kernel of side r makes (7 - r) x (7 - r) output pixels of each."""
NEAR, FAR = 2**-0.5, 2**0.5
POINTS = (0.0, FAR, -FAR, NEAR, -NEAR)
"""Where the polynomials are evaluated, besides infinity. Of those tried these round best: in bfloat16 the relative
error of one layer is 0.013, against 0.026 with the usual 0, 1, -1, 2, -2, and 0.003 of the convolution itself. They are
opposite in pairs, and NEAR times FAR is 1: both save products in `_values`."""
Number: TypeAlias = np.number
Constants: TypeAlias = tuple[np.floating, ...]


def constants(dtype: np.dtype) -> Constants:
    """What the functions below compute with, each rounded once: `FAR` to the power of 1 to 4, `NEAR` likewise, the sum
    of their squares, and 0."""
    return tuple(
        np.array([*(FAR**i for i in range(1, 5)), *(NEAR**i for i in range(1, 5)), FAR**2 + NEAR**2, 0], dtype)
    )


def compiled(function: Callable) -> Callable:
    """Compiled at the first call with each combination of types, and kept on disk for the next process."""

    def with_cache(cache: bool) -> Callable:
        return njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"}, cache=cache)(function)

    try:
        return with_cache(True)
    except RuntimeError:  # there is no folder that it may write to
        return with_cache(False)


def _wide(x: Number) -> Number:
    """A number as it is kept -> of the type of the sums."""
    raise NotImplementedError("compiled only")


def _kept(x: Number, like: Number) -> Number:
    """A number of the type of the sums -> as it is kept, in the type of `like`."""
    raise NotImplementedError("compiled only")


@overload(_wide, strict=False)  # annotations may differ
def _wide_compiled(x: types.Type) -> Callable:
    if x == types.uint16:
        return lambda x: np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)
    return lambda x: x


@overload(_kept, strict=False)
def _kept_compiled(x: types.Type, like: types.Type) -> Callable:
    def rounded(x: Number, like: Number) -> Number:
        bits = np.float32(x).view(np.uint32)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return rounded if like == types.uint16 else lambda x, like: x


@njit
def _values(d0: Number, d1: Number, d2: Number, d3: Number, d4: Number, d5: Number, k: Constants) -> tuple[Number, ...]:
    """Six pixels in a line -> their values at `POINTS` and infinity (`tile_matrices`' third)."""
    far, far_odd = d4 - k[5] * d2, k[0] * d3 - k[4] * d1
    near, near_odd = d4 - k[1] * d2, k[4] * d3 - k[0] * d1
    zero, infinity = d0 - k[8] * d2 + d4, d1 - k[8] * d3 + d5
    return zero, far + far_odd, far - far_odd, near + near_odd, near - near_odd, infinity


@njit
def _four(v0: Number, v1: Number, v2: Number, v3: Number, v4: Number, v5: Number, k: Constants) -> tuple[Number, ...]:
    """Values -> four pixels in a line, of a kernel of 3 (`tile_matrices`' first)."""
    far, far_odd, near, near_odd = v1 + v2, v1 - v2, v3 + v4, v3 - v4
    return (
        v0 + far + near,
        k[0] * far_odd + k[4] * near_odd,
        k[1] * far + k[5] * near,
        k[2] * far_odd + k[6] * near_odd + v5,
    )


@njit
def _five(v0: Number, v1: Number, v2: Number, v3: Number, v4: Number, v5: Number, k: Constants) -> tuple[Number, ...]:
    """Values -> five pixels in a line, of a kernel of 2."""
    p0, p1, p2, p3 = _four(v0, v1, v2, v3, v4, k[9], k)
    return p0, p1, p2, p3, k[3] * (v1 + v2) + k[7] * (v3 + v4) + v5


@njit
def _column(values: np.ndarray, j: int, c: int) -> tuple[Number, Number, Number, Number, Number, Number]:
    """Of a tile's values (36, K), those of column j and channel c, from the top down."""
    return (
        _wide(values[j, c]),
        _wide(values[6 + j, c]),
        _wide(values[12 + j, c]),
        _wide(values[18 + j, c]),
        _wide(values[24 + j, c]),
        _wide(values[30 + j, c]),
    )


@compiled
def take_apart(
    picture: np.ndarray,
    made: int,
    first: int,
    scale: np.ndarray,
    shift: np.ndarray,
    k: Constants,
    values: np.ndarray,
) -> None:
    """Write the values of the tiles from number `first` on.

    Args:
        picture: (H, W, C); there are zeros around it.
        made: output pixels of a tile and direction; the first tile begins one pixel outside.
        scale, shift: (C,), or empty: what is taken apart is max(0, scale picture + shift).
        k: `constants`.
        values: (tiles, 36, C).
    """
    height, width, channels = picture.shape
    columns, zero = -(-(width + made - 4) // made), k[9]
    rows = picture.reshape(height, width * channels)
    line, half = np.empty(TILE * channels, scale.dtype), np.empty((TILE, TILE, channels), scale.dtype)
    pixels = line.reshape(TILE, channels)
    for tile in range(len(values)):
        top, left = (first + tile) // columns * made - 1, (first + tile) % columns * made - 1
        start, stop = max(-left, 0), min(width - left, TILE)
        for i in range(TILE):
            if not 0 <= top + i < height:
                half[i] = zero
                continue
            line[: start * channels] = zero
            line[stop * channels :] = zero
            if len(scale):
                for j in range(start, stop):
                    for c in range(channels):
                        pixels[j, c] = max(_wide(picture[top + i, left + j, c]) * scale[c] + shift[c], zero)
            else:
                seen = rows[top + i, (left + start) * channels : (left + stop) * channels]
                inside = line[start * channels : stop * channels]
                for n in range(len(seen)):
                    inside[n] = _wide(seen[n])
            for c in range(channels):
                v = _values(pixels[0, c], pixels[1, c], pixels[2, c], pixels[3, c], pixels[4, c], pixels[5, c], k)
                half[i, 0, c], half[i, 1, c], half[i, 2, c], half[i, 3, c], half[i, 4, c], half[i, 5, c] = v
        out, kind = values[tile], values[tile, 0, 0]
        for j in range(TILE):
            for c in range(channels):
                v = _values(half[0, j, c], half[1, j, c], half[2, j, c], half[3, j, c], half[4, j, c], half[5, j, c], k)
                out[j, c], out[6 + j, c], out[12 + j, c] = _kept(v[0], kind), _kept(v[1], kind), _kept(v[2], kind)
                out[18 + j, c], out[24 + j, c], out[30 + j, c] = _kept(v[3], kind), _kept(v[4], kind), _kept(v[5], kind)


@compiled
def put_together(
    values: np.ndarray, first: int, bias: np.ndarray, rest: np.ndarray, k: Constants, picture: np.ndarray
) -> None:
    """Write what a 3x3 kernel makes of the tiles from number `first` on.

    Args:
        values: (tiles, 36, K), products.
        bias: (K,).
        rest: (H, W, K) to be added, or empty: then what is negative becomes 0.
        k: `constants`.
        picture: (H, W, K).
    """
    height, width, channels = picture.shape
    made = TILE - 2
    columns, zero = -(-width // made), k[9]
    rows, others = picture.reshape(height, width * channels), rest.reshape(len(rest), width * channels)
    line, half = np.empty(made * channels, bias.dtype), np.empty((made, TILE, channels), bias.dtype)
    pixels = line.reshape(made, channels)
    for tile in range(len(values)):
        top, left = (first + tile) // columns * made, (first + tile) % columns * made
        v = values[tile]
        for j in range(TILE):
            for c in range(channels):
                half[0, j, c], half[1, j, c], half[2, j, c], half[3, j, c] = _four(*_column(v, j, c), k)
        right = min(left + made, width)
        for i in range(min(made, height - top)):
            for c in range(channels):
                p = _four(half[i, 0, c], half[i, 1, c], half[i, 2, c], half[i, 3, c], half[i, 4, c], half[i, 5, c], k)
                b = bias[c]
                pixels[0, c], pixels[1, c], pixels[2, c], pixels[3, c] = p[0] + b, p[1] + b, p[2] + b, p[3] + b
            row = rows[top + i, left * channels : right * channels]
            if len(rest):
                other = others[top + i, left * channels : right * channels]
                for n in range(len(row)):
                    row[n] = _kept(line[n] + _wide(other[n]), row[n])
            else:
                for n in range(len(row)):
                    row[n] = _kept(max(line[n], zero), row[n])


@compiled
def put_together_doubled(values: np.ndarray, first: int, bias: np.ndarray, k: Constants, picture: np.ndarray) -> None:
    """Write what a 2x2 kernel for each pixel of a 2x2 block makes; what is negative becomes 0.

    Args:
        values: (tiles, 36, 4 K), products: K channels of a block's top right pixel, its top left one, and the two below
            in the same order.
        bias: (4 K,).
        k: `constants`.
        picture: (2 H, 2 W, K).
    """
    height, width, channels = picture.shape
    made, pair = TILE - 1, 2 * channels
    columns, zero = -(-(width // 2 + 1) // made), k[9]
    rows = picture.reshape(height, width * channels)
    line, half = np.empty(made * pair, bias.dtype), np.empty((made, TILE, 2 * pair), bias.dtype)
    pixels, halves, biases = line.reshape(made, pair), half.reshape(made, TILE, 2, pair), bias.reshape(2, pair)
    for tile in range(len(values)):
        top, left = (first + tile) // columns * made, (first + tile) % columns * made
        v = values[tile]
        for j in range(TILE):
            for c in range(2 * pair):
                half[0, j, c], half[1, j, c], half[2, j, c], half[3, j, c], half[4, j, c] = _five(*_column(v, j, c), k)
        # A block's lower pixels are made from one row further down, its right ones from one column further right: a
        # line begins with the right pixel of the block before.
        begin = 2 * left - 1
        start, stop = max(-begin, 0), min(width - begin, 2 * made)
        for i in range(2 * made):
            y = 2 * top - 1 + i
            if not 0 <= y < height:
                continue
            h, b, lower = halves[i // 2], biases[y % 2], y % 2
            for c in range(pair):
                p = _five(
                    h[0, lower, c], h[1, lower, c], h[2, lower, c], h[3, lower, c], h[4, lower, c], h[5, lower, c], k
                )
                pixels[0, c], pixels[1, c], pixels[2, c] = p[0] + b[c], p[1] + b[c], p[2] + b[c]
                pixels[3, c], pixels[4, c] = p[3] + b[c], p[4] + b[c]
            row = rows[y, (begin + start) * channels : (begin + stop) * channels]
            seen = line[start * channels : stop * channels]
            for n in range(len(row)):
                row[n] = _kept(max(seen[n], zero), row[n])


@compiled
def warp_dimmed(features: np.ndarray, places: np.ndarray, occlusion: np.ndarray, moved: np.ndarray) -> None:
    """Write features where they have moved to, with zeros outside, times the occlusion.

    Args:
        features: (H, W, C).
        places: (2, h, w), x and y in pixels of the features.
        occlusion: (h, w).
        moved: (h, w, C).
    """
    height, width, channels = features.shape
    none = occlusion[0, 0] * 0
    for y in range(moved.shape[0]):
        for x in range(moved.shape[1]):
            px, py, seen = places[0, y, x], places[1, y, x], occlusion[y, x]
            if not (-1 < px < width and -1 < py < height):
                moved[y, x] = none
                continue
            left, top = int(np.floor(px)), int(np.floor(py))
            u, v = px - left, py - top
            # A neighbour outside counts for nothing, whichever pixel stands for it.
            a = (1 - u) * seen if left >= 0 else none
            b = u * seen if left + 1 < width else none
            above = 1 - v if top >= 0 else none
            below = v if top + 1 < height else none
            upper, lower = features[max(top, 0)], features[min(top + 1, height - 1)]
            first, second = max(left, 0), min(left + 1, width - 1)
            f00, f01, f10, f11 = upper[first], upper[second], lower[first], lower[second]
            w00, w01, w10, w11 = above * a, above * b, below * a, below * b
            out = moved[y, x]
            for c in range(channels):
                out[c] = w00 * f00[c] + w01 * f01[c] + w10 * f10[c] + w11 * f11[c]
