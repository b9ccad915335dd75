"""The script that measures checkpoints on a set of clips and writes a report that others can reproduce.

What is measured and how: `fomm/evaluation`; the pages: `fomm/report`. This file puts them together with what finds
faces and with what the drawn data sets know. Everything heavy is imported where it is used, so that `--help` answers at
once; for the same reason annotations are not postponed (see infer.py).
"""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import fomm
from fomm import command_line
from fomm.errors import InputError, run
from fomm.evaluation.settings import MeasureSettings, check_count
from fomm.files import hash_code, hash_file, require_place
from fomm.progress import Bars

if TYPE_CHECKING:
    from fomm.report import Report
    from fomm.report.gate import Condition

USAGE = "python evaluate.py --checkpoint mine.ckpt [more ...] --baseline vox-adv --data manifest.csv --output report/"
DESCRIPTION = """Measures checkpoints, and frames that other programs made, on the same clips: writes report.html,
report.md, report.json, report.tex, per_clip.csv and per_frame.csv. `evaluate.py merge` makes one leaderboard of
several reports. A killed run goes on with the next clip when it is started again. Exit code 1: the condition of
--fail-if holds."""


@dataclass(frozen=True)
class Options(MeasureSettings):
    """Measure checkpoints on a set of clips.

    Args:
        data: manifest of the clips, or its folder.
        output: folder of the report; also keeps the records with which a killed run goes on.
        checkpoint: known names (vox-adv, puppets, ...) or files, one or more; `source` repeats the source picture.
        predictions: NAME=FOLDER, one or more: frames that other programs made, a video or a folder of frames for each
            clip, named as the clip, or for each pair, named source+driving; docs/evaluation.md.
        baseline: the checkpoint (or NAME of predictions) that the others are compared with, clip by clip; `source` is
            possible too.
        pairs: CSV file with the columns source, driving, truth (clip ids; truth may be empty): who animates whom.
        split: the clips to measure on.
        limit: so many clips, and so many pairs, the first of their lists.
        device: auto, cpu, cuda, cuda:1 or mps; always float32 without TF32.
        devices: processes on this machine, each with its own GPU where there are any. Default: 1, or what torchrun
            says.
        nodes: machines, on each of which it is started (or by torchrun, or srun); all need to see the output folder.
        wandb: log tables and clips to this W&B project.
        fail_if: conditions, one or more, such as "akd_mediapipe > 1.05 * baseline" or "reconstruction.l1.clip_mean >
            0.05"; where one holds, the exit code is 1. Each is [protocol.]metric[.number] OP [factor *] (number |
            baseline): number is a column of the summary, OP one of < <= > >=.
    """

    data: str
    output: str
    checkpoint: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    baseline: str | None = None
    pairs: str | None = None
    split: Literal["train", "val", "test"] = "test"
    limit: int | None = None
    device: str = "auto"
    devices: int | None = None
    nodes: int = 1
    wandb: str | None = None
    fail_if: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        if not self.checkpoint and not self.predictions:
            raise InputError("--checkpoint, --predictions: name nothing; name a checkpoint, such as puppets, or a file")
        if self.limit is not None:
            check_count("limit", self.limit)
        super().check()
        if not self.output.strip():
            raise InputError("--output: is empty; name a folder for the report")

    def conditions(self) -> "list[Condition]":
        """Those of --fail-if. Raises InputError where one is none, or asks for what there is not."""
        from fomm.report.gate import read_conditions

        return read_conditions(self.fail_if, self.metrics or self.known_metrics, self.baseline)


def evaluate(options: Options) -> "Report | None":
    """Measure, and write the report; None on processes other than the first.

    Raises InputError where it cannot be done; faulty clips are part of the report instead.
    """
    begun, output = time.monotonic(), Path(options.output)
    conditions = options.conditions()  # before anything heavy is loaded
    options.check()
    require_place(output)
    import preprocess
    from fomm.evaluation import run as evaluation
    from fomm.evaluation.contenders import load_all, read_data
    from fomm.evaluation.instruments import Detectors, load_instruments
    from fomm.report.files import log_to_wandb, write_files
    from preprocess.faces import FaceFinder
    from preprocess.synthetic.truth import PEOPLE, PuppetTruth

    data = read_data(options.data, split=options.split, pairs=options.pairs, limit=options.limit)
    bars = Bars()
    with ExitStack() as stack:
        stack.callback(bars.close)
        finder = cache(lambda: stack.enter_context(FaceFinder()))  # of the measures, and the eyes of models `face`
        contenders = load_all(options.checkpoint, options.predictions, data.tasks, options.baseline, observer=finder)
        fabric = evaluation.launch(options.device, devices=options.devices, nodes=options.nodes)
        needed = Detectors.needed(contenders, options.metrics, finder)
        instruments = load_instruments(fabric.device, needed, options)
        for condition in conditions:
            condition.check_computed(instruments.not_computed)
        report = evaluation.evaluate(
            data,
            contenders,
            instruments,
            output,
            fabric=fabric,
            truth_of=PuppetTruth(data.manifest.parent, data.clips),
            code={
                "fomm": hash_code(Path(fomm.__file__).parent),
                "preprocess": hash_code(Path(preprocess.__file__).parent),
                "evaluate.py": hash_file(__file__),
            },
            settings={"fail_if": list(options.fail_if), "people_to_tell_apart": PEOPLE},
            command=["python", *sys.argv],
            progress=bars,
        )
    if report is None:
        return None
    report.run.elapsed_s = round(time.monotonic() - begun, 1)
    write_files(report, output)
    if options.wandb:
        log_to_wandb(report, output, options.wandb)
    return report


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line; raises InputError, on one line, for unknown, missing or wrong ones."""
    return command_line.parse(Options, "evaluate.py", arguments, usage=USAGE, description=DESCRIPTION, gather=True)


@dataclass(frozen=True)
class MergeOptions:
    """Merge reports.

    Args:
        reports: folders of reports, or their report.json, two or more; differences are from the first one's baseline.
        output: folder of the leaderboard.
    """

    reports: list[str]
    output: str


def merge(arguments: list[str]) -> None:
    """`evaluate.py merge`: one leaderboard of several reports; raises InputError for wrong options, what is no report,
    or reports on different data."""
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--reports", *arguments]
    options = command_line.parse(
        MergeOptions,
        "evaluate.py merge",
        arguments,
        usage="python evaluate.py merge report1/ report2/ [more ...] --output board/",
        description="Makes one leaderboard of reports on the same data.",
        gather=True,
    )
    from fomm.evaluation.merging import merge_folders
    from fomm.report.files import write_files

    report = merge_folders(options.reports, options.output, command=["python", *sys.argv])
    write_files(report, Path(options.output))
    show(report, options.output)


def show(report: "Report", output: str, took: str = "") -> None:
    """Print the tables, and where the rest is."""
    from fomm.report import terminal_table

    print(terminal_table(report))
    print(f"wrote {Path(output) / 'report.html'}{took}")


def main() -> None:
    if sys.argv[1:2] == ["merge"]:
        return merge(sys.argv[2:])
    options = parse()
    report = evaluate(options)
    if report is None:
        return
    show(report, options.output, f" ({report.run.elapsed_s:.0f} s)")
    failures = [line for condition in options.conditions() for line in condition.failures(report)]
    for line in failures:
        print(f"gate failed: {line}", file=sys.stderr)
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
