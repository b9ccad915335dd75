"""The script that animates a photo with a driving video.

`studio.animation.animate_files` is the whole way from two files to a finished one; the command line around it adds
folders, progress bars and exit codes.
"""

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from fomm import command_line
from fomm.errors import InputError, run
from fomm.progress import Bars
from studio.animation import Options, Result, animate_files, load_tools

VIDEO_SUFFIXES = tuple(".mp4 .mov .m4v .webm .mkv .avi .mpg .mpeg .ts .wmv .flv .3gp .gif".split())
USAGE = "python infer.py --source photo.jpg --driving clip.mp4 --output result.mp4 [options]"
DESCRIPTION = """The face in the photo moves as the face in the video does: both are found and cropped, the photo's is
animated and put back into the full photo, and the video's sound goes along."""


def list_pairs(options: Options) -> list[tuple[Path, Path, Path]]:
    """(source, driving, output) of everything that is asked for; a folder on either side makes a batch.

    Raises:
        InputError: a path that is not there, or a batch whose output is no folder.
    """
    from fomm.video import frame_files
    from fomm.video.pictures import local_file

    for name in (options.source, options.driving):  # said before a checkpoint is downloaded
        if not os.path.isdir(name):
            local_file(name)
    source, driving, output = Path(options.source), Path(options.driving), Path(options.output)
    sources = frame_files(source) if source.is_dir() else [source]
    drivings = video_files(driving) or [driving]
    if not source.is_dir() and drivings == [driving]:
        return [(source, driving, output)]
    if output.suffix:
        raise InputError(f"{output}: with a folder as input the results need a folder too; give a name without suffix")
    pairs = [(s, d, output / f"{s.stem}_{d.stem}.mp4") for d in drivings for s in sources]
    if len({path for *_, path in pairs}) < len(pairs):  # a.jpg beside a.png
        pairs = [(s, d, output / f"{s.name}_{d.name}.mp4") for s, d, _ in pairs]
    return pairs


def video_files(folder: Path) -> list[Path]:
    """Videos in a folder, by name; none if it is a file, or a folder of frames."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES and not f.name.startswith("."))


def infer(options: Options) -> list[Result]:
    """Animate all that `options` ask for, with bars and lines for a person to read.

    Raises:
        InputError: it cannot be done; in a batch after all other pairs, with the names of those that failed.
    """
    options.check()
    bars = Bars()
    results, failures = [], []
    with ExitStack() as stack:
        stack.callback(bars.close)
        if options.camera is not None:
            from studio.recording import record_webcam

            list_pairs(replace(options, driving=options.source))  # what is wrong with the others is said first
            options = replace(options, driving=str(record_webcam(options, bars.print, progress=bars)))
        pairs = list_pairs(options)
        warn = lambda sentence: bars.print(f"warning: {sentence}")  # noqa: E731
        tools = load_tools(options, stack, warn)
        size = tools.checkpoint.image_size
        bars.print(f"model {options.checkpoint} at {size}x{size} on {tools.animator}")
        for source, driving, output in pairs:
            try:
                result = animate_files(source, driving, output, options, tools, progress=bars, warn=warn)
            except InputError as error:
                if len(pairs) == 1:
                    raise
                failures.append(output)
                bars.print(f"error: {error}")
                continue
            results.append(result)
            bars.print(f"wrote {result}", file=sys.stdout)
    if failures:
        names = ", ".join(path.name for path in failures)
        raise InputError(f"{len(failures)} of {len(pairs)} pairs failed (see above): {names}; the others are done")
    return results


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line, whose schema is the signature of `Options`.

    Raises:
        InputError: unknown, missing or wrong options, on one line.
    """
    return command_line.parse(Options, "infer.py", arguments, usage=USAGE, description=DESCRIPTION)


def main() -> None:
    infer(parse())


if __name__ == "__main__":
    run(main)
