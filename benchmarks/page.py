"""What all benchmarks print: Markdown tables, ratios on lines of their own, and the machine that they ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

RATIO = "- ratio: "
"""How a line begins that `benchmarks/all.py` collects."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table in Markdown, under its title."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}\n" if title else "")
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    print()


def ratio(what: str, values: float | Sequence[float]) -> None:
    """Print one ratio: of several turns the median, the lowest and the highest."""
    print(f"{RATIO}{what}: {spread(np.atleast_1d(values).tolist(), '{:.2f}')}")


def spread(values: Sequence[float], form: str = "{:.0f}") -> str:
    """Median (lowest to highest); a single value alone.

    >>> spread([3, 1, 2]), spread([0.5], "{:.2f}")
    ('2 (1 to 3)', '0.50')
    """
    middle, low, high = np.median(values), min(values), max(values)
    return form.format(middle) + (f" ({form.format(low)} to {form.format(high)})" if len(values) > 1 else "")


def machine() -> list[str]:
    """What a reader has to know of this machine, one line each."""
    import cv2
    import torch

    flags = _cpuinfo("flags") or _cpuinfo("Features") or ""
    known = ("amx_int8", "amx_bf16", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx2", "bf16", "i8mm")
    units = ", ".join(unit for unit in known if unit in flags.split()) or "unknown"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [
        f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"instructions for matrices: {units}",
        f"{memory:.0f} GB of memory; GPU: {', '.join(devices) or 'none'}",
        f"{platform.system()}, Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"OpenCV {cv2.__version__}",
    ]


def load() -> float:
    """Processes that want a core, mean over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _cpuinfo(field: str) -> str | None:
    """The first value of a field of Linux's list of processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)
