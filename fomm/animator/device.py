"""The device that networks run on, and what it is good at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fomm.animator.lanes import Lanes
from fomm.errors import InputError

_TF32_LOCK = threading.Lock()

DEVICES = ("auto", "cpu", "cuda", "mps")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA's convolutions may round to TF32. It holds for the process: one thread is in here at a time."""
    cudnn = torch.backends.cudnn
    kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    with _TF32_LOCK, cudnn.flags(**kept, allow_tf32=allowed):
        yield


def processor_units(listing: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Which instructions for products of bfloat16 this processor has: amx_bf16 (matrix units), avx512_bf16, bf16 (Arm).

    Known on Linux only; elsewhere none are named.

    Args:
        listing: where Linux says what its processors can do.
    """
    known = {"amx_bf16", "avx512_bf16", "bf16"}
    try:
        lines = [line.split() for line in listing.read_text().splitlines()]
    except OSError:
        return set()
    flags = next((words for words in lines if words and words[0].lower() in ("flags", "features")), [])
    return known & set(flags) if torch.backends.mkldnn.is_available() else set()


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` -> a device that this machine has.

    Raises:
        InputError: no such device here, or an unknown name.
    """
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and (kind != "cuda" or not number.isdigit())):
        raise InputError(f"device {name!r} is unknown; choose from {', '.join(DEVICES)}")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        kind = next(kind for kind, here in available.items() if here)
        return torch.device(kind)
    if not available[kind]:
        raise InputError(
            f"device {name!r} is not available to PyTorch {torch.__version__} on this machine; give --device cpu"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not here: there are {torch.cuda.device_count()} CUDA devices, the first is cuda:0"
        )
    return torch.device(name)


def lanes_for(device: torch.device) -> Lanes:
    """A GPU works on all of a batch at once; on the CPU each core takes a frame."""
    return Lanes(None if device.type == "cpu" else 1)
