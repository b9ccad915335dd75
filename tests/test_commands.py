"""The commands that the documents show are understood by the programs that they call. Nothing of them is run."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jsonargparse
import pytest
from pictures import ROOT

from fomm.command_line import call
from fomm.errors import InputError

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "data_manifests/README.md", "fomm/weights/README.md"]
DOCUMENTS += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))


@dataclass(frozen=True)
class Shape:
    """How it is made.

    Args:
        sides: how many.
        edge: how they end.
    """

    sides: int = 4
    edge: Literal["round", "sharp"] = "round"


MADE: list[tuple[str, Shape, int]] = []


def make(output: str, shape: Shape = Shape(), *, times: int = 1) -> None:  # noqa: B008 - frozen
    """Make it.

    Args:
        output: where.
        times: how often.
    """
    MADE.append((output, shape, times))


def test_the_fields_of_a_dataclass_stand_beside_the_other_options() -> None:
    call(make, "make", ["--output", "o", "--sides", "5", "--times=2"], as_positional=False)
    call(make, "make", ["o", "--edge", "sharp"], as_positional=True)
    assert MADE == [("o", Shape(5), 2), ("o", Shape(edge="sharp"), 1)]


@pytest.mark.parametrize(
    "options, said",
    [
        (["--output", "o", "--sides", "x"], "--sides: 'x' must be a whole number"),
        (["--output", "o", "--edge", "x"], "--edge: 'x' must be one of round, sharp"),
        (["--output", "o", "--times", "x"], "--times: 'x' must be a whole number"),
        ([], "required: output"),
        (["--output", "o", "--corners", "3"], "--corners"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], said: str) -> None:
    with pytest.raises(InputError) as error:
        call(make, "make", options, as_positional=False)
    assert said in str(error.value) and str(error.value).endswith("`make --help` explains the options")


class Understood(BaseException):
    """Ends a program where its command line has been parsed; no `except Exception` of the program's holds it up."""


def commands(document: str) -> Iterator[list[str]]:
    """The words of every command in the document's code blocks that starts Python, without `python` and `--help`."""
    for block in re.findall(r"^```\w*\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(\.venv/bin/)?python ", line) and not line.startswith("python -c"):
                words = shlex.split(line.split(" | ")[0], comments=True)[1:]  # not the program that reads its output
                yield [word for word in words if word != "--help"]


COMMANDS = sorted({shlex.join(words) for document in DOCUMENTS for words in commands(document)})


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Start a command's program here, and end it after its parser."""

    def then_stop(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse_args(*arguments: Any, **named: Any) -> None:
            original(*arguments, **named)
            raise Understood

        return parse_args

    def parse(command: str) -> None:
        program, *arguments = shlex.split(command)
        module = arguments.pop(0) if program == "-m" else None
        monkeypatch.setattr(sys, "argv", [module or program, *arguments])
        with pytest.raises(Understood):
            if module:
                runpy.run_module(module, run_name="__main__", alter_sys=False)
            else:
                runpy.run_path(str(ROOT / program), run_name="__main__")

    for parser in (argparse.ArgumentParser, jsonargparse.ArgumentParser):
        monkeypatch.setattr(parser, "parse_args", then_stop(parser.parse_args))
    monkeypatch.chdir(ROOT)
    return parse


@pytest.mark.parametrize("command", [words for words in COMMANDS if not words.startswith("-m pytest")])
def test_a_command_is_understood(parse: Callable[[str], None], command: str) -> None:
    parse(command)


def test_tests_that_are_named_are_there() -> None:
    named = [word for command in COMMANDS for word in command.split() if word.startswith("tests/")]
    assert named and all((ROOT / name.partition("::")[0]).exists() for name in named)


@pytest.mark.parametrize(
    "command",
    [
        "infer.py --source a.png --driving b.mp4 --output c.mp4 --no_such true",
        "evaluate.py --checkpoint puppets --data a.csv --output b --no_such 1",
        "train.py fit --config configs/puppets-64.yaml --model.no_such 1",
        "train.py fit --config configs/no_such.yaml",
        "train.py no_such",
        "app.py --no_such 1",
        "-m fomm no_such",
        "-m fomm info puppets --no_such 1",
        "-m preprocess no_such",
        "-m preprocess heads --no_such 1",
        "benchmarks/puppets.py --no_such 1",
    ],
)
def test_a_command_that_is_not_is_refused(parse: Callable[[str], None], command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(command)
    assert stopped.value.code == 2


def test_documents_have_commands() -> None:
    assert len(COMMANDS) > 30 and any(command.startswith("infer.py") for command in COMMANDS)


@pytest.mark.parametrize("script", ["app.py", "evaluate.py", "infer.py", "train.py"])
def test_help_answers_at_once(script: str) -> None:
    """Nothing heavy is loaded for it: that, unlike seconds, is the same on every machine."""
    code = (
        f"import sys, runpy; sys.argv = [{script!r}, '--help']\n"
        f"try: runpy.run_path({script!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'cv2', 'av', 'gradio', 'mediapipe', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr
