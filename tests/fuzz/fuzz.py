"""Broken media, checkpoints, tables and configs, one after the other, each read in a process that may die of it.

    make fuzz SECONDS=600      (PYTHONPATH=.:tests python -m fuzz.fuzz SECONDS [SEED])

Whatever is not read, and not refused with our own error class, is a fault: any other exception, a crash, a hang, more
memory than a reader may take. Hypothesis draws the changes and makes a case that fails as small as it can; the file is
kept in outputs/fuzz. Exit code 1 if there was a fault.
"""

from __future__ import annotations

import json
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEPT = ROOT / "outputs" / "fuzz"
MAX_CASE_S = 40.0  # beside other work; whole seeds take under one
HOSTILE = (
    b"", b"0", b"-1", b"1", b"nan", b"inf", b"1e308", b"1e1000000000", b"-1e-1000000000", b"9" * 5000, b"1/0", b"0.5",
    b"2147483648", b"18446744073709551616", b"null", b"true", b"[]", b"{}", b'""', b"[" * 3000, b"&a [*a]", b"*a",
    b"=1+1", b"../../etc/passwd", b"/dev/zero", b"\xff\xfe", b"\0", b"\xc3\xa9" * 200, b'"', b"\n", b";", b"!!python/x",
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)

places = st.floats(0, 1, exclude_max=True)
numbers = st.tuples(st.sampled_from(NUMBERS), st.sampled_from((1, 2, 4, 8)), st.booleans())
edits = st.lists(
    st.one_of(
        st.tuples(st.just("bytes"), places, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("number"), places, numbers),
        st.tuples(st.just("cut"), places, st.just(None)),
        st.tuples(st.just("drop"), places, st.integers(1, 2000)),
        st.tuples(st.just("repeat"), places, st.integers(1, 2000)),
        st.tuples(st.just("word"), places, st.sampled_from(HOSTILE)),
    ),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, edits: Sequence[tuple], *, header: bool = False) -> bytes:
    """A file's content after the edits; `header`: of safetensors, whose header keeps a length that is right."""
    if header:
        size = struct.unpack("<Q", content[:8])[0]
        text = changed(content[8 : 8 + size], edits)
        return struct.pack("<Q", len(text)) + text + content[8 + size :]
    data = bytearray(content)
    for kind, place, value in edits:
        at = int(place * len(data))
        if kind == "bytes":
            data[at : at + len(value)] = value
        elif kind == "number":
            number, size, little = value
            data[at : at + size] = (number % 256**size).to_bytes(size, "little" if little else "big")
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + value]
        elif kind == "repeat":
            data[at:at] = data[at : at + value] * 3
        elif kind == "word":
            words = list(re.finditer(rb"[^\s,:;{}\[\]\"']+", data))
            if words:
                word = words[int(place * len(words))]
                data[word.start() : word.end()] = value
    return bytes(data)


class Fault(Exception):
    """A file was neither read nor refused."""


class Reader:
    """A process that reads files; a new one where it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def read(self, target: str, path: Path) -> None:
        """Raises Fault."""
        if self._process is None:
            path_of = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, cwd=tempfile.gettempdir(),
                env={**os.environ, "PYTHONPATH": path_of, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"target": target, "path": str(path)}) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], MAX_CASE_S)[0]:
            self.__exit__()
            raise Fault(f"hangs: nothing after {MAX_CASE_S:.0f} s")
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.__exit__()
            raise Fault(f"the process died with code {code}")
        said = json.loads(line)
        self.outcomes[f"{target}: {said.partition(':')[0]}"] += 1
        if said.startswith("fault"):
            raise Fault(said)


def hunt(
    target: str, seeds: Sequence[Path], reader: Reader, scratch: Path, *, examples: int, number: int | None
) -> Fault | None:
    """Read so many broken files of a target; the smallest fault that was found.

    Args:
        number: of the sequence of cases; None: always the same ones.
    """
    found: list[tuple[Fault, bytes, str]] = []

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=number is None,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(st.sampled_from(seeds), edits, st.booleans())
    def case(whole: Path, edits: list[tuple], header: bool) -> None:
        content = changed(whole.read_bytes(), edits, header=header and whole.suffix == ".safetensors")
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            path = Path(place) / whole.name
            path.write_bytes(content)
            try:
                reader.read(target, path)
            except Fault as fault:
                found.append((fault, content, whole.name))
                raise

    try:
        (case if number is None else seed(number)(case))()
    except Fault:
        fault, content, name = found[-1]  # the last is the smallest
        KEPT.mkdir(parents=True, exist_ok=True)
        kept = KEPT / f"{target}-{int(time.time())}-{name}"
        kept.write_bytes(content)
        return Fault(f"{target}: {kept}: {fault}")
    return None


def main() -> None:
    from fuzz.seeds import write_seeds

    seconds, number = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    end, faults = time.monotonic() + seconds, []
    with tempfile.TemporaryDirectory() as name, Reader() as reader:
        targets = write_seeds(Path(name) / "seeds")
        for target, seeds in targets.items():
            for path in seeds:
                reader.read(target, path)  # whole ones are no fault
        while time.monotonic() < end:
            for target, seeds in targets.items():
                if time.monotonic() > end:
                    break
                examples = 10 if target == "train config" else 60
                fault = hunt(target, seeds, reader, Path(name), examples=examples, number=number)
                if fault is not None:
                    faults.append(fault)
                    print(f"FAULT {fault}", flush=True)
            number += 1
    print(f"{sum(reader.outcomes.values())} files in {seconds:.0f} s, last sequence {number}")
    for outcome, count in sorted(reader.outcomes.items()):
        print(f"  {outcome:28s} {count}")
    print(f"{len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
