"""Every benchmark in a short form, and one page of what they say: docs/speed.md.

    python benchmarks/all.py                          # on a quiet machine; writes docs/speed.md
    python benchmarks/all.py --only "[speed, data]"   # some, to the screen

The page has the machine, all ratios, every benchmark's own tables, and `docs/speed_notes.md`, which is written by hand:
how it works, and what was tried and did not pay. Each benchmark runs in a process of its own, one after another. One
that fails is named in its place, and the exit code is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from jsonargparse import auto_cli

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks.page import RATIO, load, machine
from fomm.errors import InputError, run
from fomm.files import atomic_output

NOTES, PAGE = ROOT / "docs/speed_notes.md", ROOT / "docs/speed.md"
MADE = "*Made by `benchmarks/all.py`; what is written by hand is in [speed_notes.md](speed_notes.md).*"


@dataclass(frozen=True)
class Benchmark:
    """One file of this folder: what it is about, and its short form."""

    name: str
    title: str
    short: str = ""

    @property
    def command(self) -> str:
        return f"benchmarks/{self.name}.py {self.short}".strip()


ALL = [
    Benchmark("speed", "Animation, models of the paper, full-size networks", "--frames 8 --seconds 2 --growth [10,40]"),
    Benchmark("detail", "Animation at the photo's own resolution", "--puppets 2 --frames 3"),
    Benchmark(
        "face",
        "Animation, model face and the embedded model of the paper's kind",
        "--media fomm/assets --parts [speed] --contenders [puppets,face] --frames 30",
    ),
    Benchmark("regions", "What is outside of a region stays", "--frames 5"),
    Benchmark("live", "Live, on the page", "--frames 30 --turns 3"),
    Benchmark("memory", "Memory against the length of a video", "--seconds [4,40]"),
    Benchmark("training", "A training step", "--steps 4 --batch 2 --rounded false"),
    Benchmark("data", "Training pairs", "--clips 2 --steps 15"),
    Benchmark("preparation", "Preparing videos", "--scenes 1 --frames 100 --repeats 1"),
    Benchmark("preparation_memory", "Memory against the number of clips prepared", "--clips 60"),
    Benchmark("puppets", "What the embedded model has learnt", "--checkpoint puppets"),
]


@dataclass(frozen=True)
class Said:
    """What a benchmark printed, in how many seconds on the clock and of processor time; `failure` is its last line of
    error, empty where it ended well."""

    benchmark: Benchmark
    text: str
    elapsed_s: float
    processor_s: float
    failure: str = ""

    @property
    def ratios(self) -> list[tuple[str, str]]:
        """(what, value) of every ratio."""
        lines = [line.removeprefix(RATIO) for line in self.text.splitlines() if line.startswith(RATIO)]
        return [(what, value) for what, _, value in (line.rpartition(": ") for line in lines)]


def perform(benchmark: Benchmark) -> Said:
    begun, busy = time.monotonic(), processor_s()
    done = subprocess.run([sys.executable, *benchmark.command.split()], cwd=ROOT, capture_output=True, text=True)
    failure = ""
    if done.returncode:
        failure = next(iter(done.stderr.strip().splitlines()[::-1]), f"exit code {done.returncode}")
    return Said(benchmark, done.stdout, time.monotonic() - begun, processor_s() - busy, failure)


def processor_s() -> float:
    """Of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def page(all_said: list[Said], about: list[str], notes: str) -> str:
    """The page, in Markdown.

    Args:
        all_said: what the benchmarks said, in their order.
        about: the machine and the run, one line each.
        notes: what is written by hand; begins with a heading of the second level.
    """
    rows = [f"| {what} | {value} | `{said.benchmark.name}` |" for said in all_said for what, value in said.ratios]
    parts = [
        f"# Speed\n\n{MADE}",
        "Short forms of all benchmarks, in one run; each can be run longer by itself. Ratios are taken turn by turn, "
        "so they hold on a busy machine as well, as processor time nearly does; times on the clock do not.",
        "\n".join(f"- {line}" for line in about),
        "## Ratios\n\n| what | median (lowest to highest) | benchmark |\n|---|---|---|\n" + "\n".join(rows),
    ]
    for said in all_said:
        kept = "\n".join(line for line in said.text.splitlines() if not line.startswith(RATIO)).strip()
        took = f"took {said.elapsed_s:.0f} s, {said.processor_s:.0f} s of processor time."
        parts.append(f"## {said.benchmark.title}\n\n`{said.benchmark.command}` {took}")
        parts.append(f"Failed: {said.failure}" if said.failure else kept)
    return "\n\n".join([*parts, notes.strip()]) + "\n"


def about_run(all_said: list[Said], load_before: float) -> list[str]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return [
        *machine(),
        f"{date.today()}, commit {commit.stdout.strip() or 'unknown'}",
        f"all of it took {sum(said.elapsed_s for said in all_said) / 60:.0f} minutes, "
        f"{sum(said.processor_s for said in all_said) / 60:.0f} of processor time",
        f"processes that wanted a core: {load_before:.1f} before, {load():.1f} at the end, the benchmarks included",
    ]


def main(only: list[str] | None = None) -> None:
    """Run them.

    Args:
        only: names of benchmarks; the page then goes to the screen, and docs/speed.md stays.
    """
    unknown = set(only or []) - {benchmark.name for benchmark in ALL}
    if unknown:
        known = ", ".join(benchmark.name for benchmark in ALL)
        raise InputError(f"--only: there is no benchmark {', '.join(sorted(unknown))}; choose from {known}")
    before, all_said = load(), []
    for benchmark in ALL:
        if only is None or benchmark.name in only:
            print(f"{benchmark.command} ...", file=sys.stderr)
            all_said.append(perform(benchmark))
            print(f"  {all_said[-1].failure or 'done'}, {all_said[-1].elapsed_s:.0f} s", file=sys.stderr)
    made = page(all_said, about_run(all_said, before), NOTES.read_text())
    if only is None:
        with atomic_output(PAGE) as part:
            part.write_text(made)
    else:
        print(made)
    failed = [said.benchmark.name for said in all_said if said.failure]
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed; the page says how")


if __name__ == "__main__":
    run(lambda: auto_cli(main, as_positional=False))
