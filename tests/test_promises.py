"""What README promises, and that each line of it names tests that there are."""

from __future__ import annotations

import re

import pytest
from pictures import ROOT

SECTION = (ROOT / "README.md").read_text().partition("## What it promises\n")[2].partition("\n## ")[0]
PROMISES = [line for line in SECTION.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda line: line[4:44])
def test_each_promise_is_held_by_tests_that_there_are(promise: str) -> None:
    named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", promise)
    assert named
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file} has no {test}"


def test_there_are_promises_on_files_kills_strangers_and_the_page() -> None:
    assert len(PROMISES) >= 10 and all(word in SECTION for word in ("HDR", "killed", "Strangers", "page"))
