"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest
import torch
from pictures import ROOT

FILES = sorted(
    path.relative_to(ROOT)
    for package in ("fomm", "preprocess", "studio")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", [".".join(path.with_suffix("").parts) for path in FILES])
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(name), extraglobs={"torch": torch, "np": np})
    assert result.attempted and not result.failed


def test_there_are_examples() -> None:
    assert len(FILES) >= 5
