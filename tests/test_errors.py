"""Exit codes and one-line messages of the entry scripts; files that are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from in_process import fomm

from fomm.errors import InputError, run
from fomm.files import all_or_none, atomic_output, hash_file
from fomm.manifest import Clip
from preprocess.dataset.pairs import choose_pairs
from preprocess.synthetic.figures import write_figures
from preprocess.synthetic.head_set import write_heads
from preprocess.synthetic.puppets import write_puppet_pairs, write_puppets
from preprocess.synthetic.scenes import write_scenes

ROOT = Path(__file__).resolve().parent.parent


def exit_of(error: BaseException | None, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def main() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as stop:
        run(main)
    return int(stop.value.code), capsys.readouterr().err


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(None, capsys) == (0, "")
    assert exit_of(InputError("a.mp4: empty;\n  give another"), capsys) == (2, "error: a.mp4: empty; give another\n")
    assert exit_of(KeyboardInterrupt(), capsys)[0] == 130
    missing = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    code, message = exit_of(missing, capsys)
    assert code == 2 and message.count("\n") == 1 and "libGL.so.1" in message and "apt-get install" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a command is missing; choose from convert, "),
        (("no_such",), "no command is called 'no_such'; choose from convert, "),
        (("convert",), "required: checkpoint, output; `python -m fomm convert --help`"),
        (("strip", "a.mp4", "b.png", "--count", "x"), "--count: 'x' must be a whole number"),
        (("convert", "puppets", "b.safetensors", "--half", "maybe"), "--half: 'maybe' must be true or false"),
    ],
)
def test_wrong_words_for_a_small_tool_are_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = fomm(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and said in done.stderr, done.stderr


def test_help_lists_the_small_tools() -> None:
    done = fomm("--help")
    assert done.returncode == 0 and "model `face` its generator" in " ".join(done.stdout.split())


def test_signs_that_a_terminal_lacks_are_no_error() -> None:
    """A terminal of Latin-1 has no arrow, and a file's name may be no text at all."""
    code = r"from fomm.errors import run; run(lambda: print('AKD \u2193', 'b\udcff.mp4'))"
    latin = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=latin, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "AKD \\u2193 b\\udcff.mp4\n"), done.stderr


def test_ctrl_c_again_does_not_cut_the_first_one_short(tmp_path: Path) -> None:
    code = (
        "import signal; from fomm.errors import run; from fomm.files import atomic_output\n"
        "def main():\n"
        "    with atomic_output('r.txt') as part:\n"
        "        part.touch()\n"
        "        try: signal.raise_signal(signal.SIGINT)\n"
        "        finally: signal.raise_signal(signal.SIGINT), print('cleaned up')\n"
        "run(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "cleaned up\n"), done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_wandb_without_a_login_is_one_line(tmp_path: Path) -> None:
    code = "import wandb; from fomm.errors import run; run(lambda: wandb.init(project='test'))"
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    nobody = known | {"HOME": str(tmp_path), "WANDB_MODE": "online", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=nobody, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: W&B: No API key") and "WANDB_MODE=offline" in done.stderr


@pytest.mark.parametrize(
    "make",
    [
        lambda output: write_puppets(output, identities=30, clips=1, seed=-1),
        lambda output: write_puppet_pairs(output, identities=40, pairs=1, frames=2, size=64, seed=-1),
        lambda output: write_heads(output, identities=1, seed=-1),
        lambda output: write_scenes(output, seed=-1),
        lambda output: write_figures(output, identities=1, seed=-1),
        lambda output: choose_pairs([Clip(n, n, n, "test", 9, Fraction(25), 64, 64) for n in "ab"], seed=-1),
    ],
)
def test_a_negative_seed_is_told(make: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--seed -1: must be at least 0"):
        make(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_our_own_bugs_keep_their_traceback() -> None:
    def main() -> None:
        raise ImportError("No module named 'nonsense'")

    with pytest.raises(ImportError):
        run(main)


def test_output_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.txt"
    with atomic_output(target) as beside:
        beside.write_text("first")
        assert not target.exists()
    assert target.read_text() == "first"
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic_output(target) as beside:
            beside.write_text("half")
            raise error
    assert target.read_text() == "first"
    assert [p.name for p in target.parent.iterdir()] == ["result.txt"]
    with pytest.raises(ValueError), atomic_output(tmp_path / "a" / "b" / "result.txt"):
        raise ValueError
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "frames"
    for text in ("old", "new"):
        with atomic_output(target) as beside:
            beside.mkdir()
            (beside / f"{text}.txt").write_text(text)
    assert [p.name for p in target.iterdir()] == ["new.txt"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(InputError, match="cannot be written"), atomic_output(blocker / "result.mp4"):
        pass
    with pytest.raises(InputError, match="No space left"), atomic_output(tmp_path / "full"):
        raise OSError(28, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_missing_input_inside_the_block_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out"):
        (tmp_path / "no such input").read_text()
    with pytest.raises(InputError, match=r"^/elsewhere: Permission denied"), atomic_output(tmp_path / "out"):
        raise PermissionError(13, "Permission denied", "/elsewhere")
    with pytest.raises(InputError, match=r"out: cannot be written"), atomic_output(tmp_path / "out") as part:
        raise PermissionError(13, "Permission denied", str(part / "frame.png"))


def test_files_that_belong_together_are_all_there_or_none(tmp_path: Path) -> None:
    old, replaced, new, folder = paths = [tmp_path / name for name in ("old", "replaced", "new", "folder")]
    old.write_text("old")
    replaced.write_text("old")
    with pytest.raises(KeyboardInterrupt), all_or_none(paths):
        for path in (replaced, new, folder / "frame"):
            with atomic_output(path) as part:
                part.write_text("new")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [old]


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert hash_file(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"


@pytest.mark.parametrize(
    "command",
    [
        ["train.py", "fit"],
        ["infer.py", "--checkpoint", "puppets", "--source", "fomm/assets/portrait.png", "--driving",
         "fomm/assets/speaker.mp4", "--output", "unwritten.mp4"],
        ["-m", "preprocess", "figures", "--help"],
    ],
    ids=["train", "infer", "preprocess"],
)  # fmt: skip
def test_a_missing_system_library_is_one_line(command: list[str], tmp_path: Path) -> None:
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "libGL.so.1" in errors[0] and "apt-get install libgl1" in errors[0]
    assert "Traceback" not in done.stderr
