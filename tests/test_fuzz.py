"""The fuzzer's short part: the same few hundred broken files each time. The long one: `make fuzz`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.fuzz import Fault, Reader, changed, hunt
from fuzz.seeds import write_seeds

EXAMPLES = {"train config": 3, "video": 25, "picture": 25, "checkpoint": 15}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.mark.parametrize(
    "target",
    ["video", "picture", "checkpoint", "record", "manifest", "pairs", "metadata", "times", "config", "train config",
     "motion", "report", "settings"],
)  # fmt: skip
def test_broken_files_are_read_or_refused(
    target: str, seeds: dict[str, list[Path]], reader: Reader, tmp_path: Path
) -> None:
    for path in seeds[target]:
        reader.read(target, path)
    assert not reader.outcomes[f"{target}: refused"], "whole files are read"
    fault = hunt(target, seeds[target], reader, tmp_path, examples=EXAMPLES.get(target, 20), number=None)
    assert fault is None, str(fault)


def test_a_fault_is_seen(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="KeyError"):
        reader.read("nothing", tmp_path)
    assert changed(b"a,b", [("word", 0.6, b"=1")]) == b"a,=1" and changed(b"abcd", [("cut", 0.5, None)]) == b"ab"
