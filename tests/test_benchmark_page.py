"""The page of all benchmarks: nothing is left out of it, and what is written by hand stays."""

from __future__ import annotations

import pytest

from benchmarks.all import ALL, MADE, NOTES, PAGE, ROOT, Benchmark, Said, main, page, perform
from benchmarks.page import load, machine, ratio, spread, table
from fomm.errors import InputError


def test_every_benchmark_is_in_it() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"all", "page"}
    assert sorted(benchmark.name for benchmark in ALL) == sorted(files)


def test_ratios_are_collected_and_tables_stay(capsys: pytest.CaptureFixture) -> None:
    table(["way", "ms"], [["plain", "6"], ["ours", "1.5"]], "A frame.")
    ratio("a frame: ours against plain, times as fast", [4.0, 3.5, 4.25])
    ratio("memory", 1.0)
    first = Said(ALL[0], capsys.readouterr().out, 12.0, 20.0)
    second = Said(ALL[1], "", 1.0, 2.0, "error: no weights")
    assert first.ratios == [("a frame: ours against plain, times as fast", "4.00 (3.50 to 4.25)"), ("memory", "1.00")]
    made = page([first, second], ["a machine"], "## By hand\n\nwords\n")
    assert "| a frame: ours against plain, times as fast | 4.00 (3.50 to 4.25) | `speed` |" in made
    assert "- ratio" not in made and "- a machine\n" in made and MADE in made
    assert "A frame.\n\n| way   | ms  |\n| ----- | --- |\n| plain | 6   |\n| ours  | 1.5 |" in made
    assert f"`{ALL[1].command}` took 1 s, 2 s of processor time.\n\nFailed: error: no weights" in made
    assert made.endswith("## By hand\n\nwords\n")


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2 (1 to 3)" and spread([0.5], "{:.2f}") == "0.50"


def test_the_machine_is_described() -> None:
    described = " ".join(machine())
    assert "cores" in described and "PyTorch" in described and "GPU" in described
    assert load() >= 0


def test_a_failure_is_told_by_its_last_line() -> None:
    said = perform(Benchmark("memory", "Memory", "--size none"))
    assert "Got value: none" in said.failure


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="--only: there is no benchmark fast; choose from speed, "):
        main(["speed", "fast"])


def test_the_committed_page_is_what_the_generator_writes() -> None:
    """Made of today's short forms and notes: whoever changes one of them makes the page again."""
    text = PAGE.read_text()
    assert MADE in text and text.endswith(NOTES.read_text().strip() + "\n")
    for benchmark in ALL:
        assert f"## {benchmark.title}\n\n`{benchmark.command}` took " in text, benchmark.name
    assert "Failed: " not in text
