"""The script that animates a photo with a driving video.

`studio.batch` says which files are made and makes them; the command line around it adds the camera, progress bars and
exit codes. What is heavy is imported where it is used, so that `--help` answers at once.
There are no imports for type checkers only: to evaluate the annotations of `Options`, jsonargparse would run them.
"""

import os
import re
import sys
from contextlib import ExitStack, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from fomm import command_line
from fomm.animator.settings import AnimationSettings, ModelSettings
from fomm.errors import InputError, run
from fomm.progress import Bars

USAGE = """python infer.py --source photo.jpg --driving clip.mp4 --output result.mp4 [options]
       python infer.py --source photo.jpg --edit "yaw=15 smile=0.6" --output edited.png [options]"""
DESCRIPTION = """The face in the photo moves as the face in the video does: both are found and cropped, the photo's is
animated and put back into the full photo, and the video's sound goes along. Or it does what --edit says."""


@dataclass(frozen=True)
class Files:
    """What is animated, and where the result goes.

    Args:
        source: the photo, or a folder of photos (each is animated); or a video: each of its frames is animated, its own
            head motion stays, and --region says what the driver gives (mouth: dubbing). The result is as long as the
            source; where the driver ends earlier, the source goes on by itself. Sound: --sound.
        driving: the video, or a motion file (.json, made by python -m preprocess motion); a folder of videos (each is
            used), a folder of frames; or webcam (webcam:1 is the second one): records you after a countdown, without
            sound, into <output>_driving.mp4; where the output is another program you drive the photo live.
        output: the result: .mp4, .mov, .webm, .gif, or a name without suffix for PNG frames; a folder for a batch.
            Settings and hashes go into a JSON file beside it. Or another program: - or a named pipe gets the frames as
            y4m, camera shows them as a virtual camera; without sound, marked in the picture.
    """

    source: str
    driving: str = ""
    output: str = ""


@dataclass(frozen=True)
class Options(AnimationSettings, ModelSettings, Files):
    """Animate a photo with a driving video.

    Args:
        edit: in the place of driving: what the face is to do, by names: yaw, pitch, roll in degrees, smile, mouth,
            eyes, brows from -1 to 1, gaze two such numbers, as in "yaw=15 smile=0.6 gaze=0.3,0" (docs/direct.md has
            pictures). Into a picture, or into a video that goes there and back.
        seconds: length of a recording with --driving webcam.
    """

    edit: str = ""
    seconds: float = 8.0

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        super().check()
        if not self.output:
            raise InputError("--output is missing: the file to write, as in --output result.mp4")
        if bool(self.edit) == bool(self.driving):
            raise InputError(
                'give either --driving (a video or a motion file) or --edit (as in --edit "yaw=15 smile=0.6")'
            )
        if not 1 <= self.seconds <= 600:
            raise InputError(f"--seconds is {self.seconds}, must be from 1 to 600")

    @property
    def camera(self) -> int | None:
        """Number of the camera that --driving asks for; None where it names a file or a folder."""
        asked = re.fullmatch(r"webcam(?::(\d+))?", self.driving)
        return int(asked[1] or 0) if asked and not os.path.exists(self.driving) else None


def infer(options: Options) -> list:
    """Animate all that `options` ask for, with bars and lines for a person to read.

    Returns: the `studio.animation.Result` of each pair.

    Raises:
        InputError: it cannot be done; in a batch after all other pairs, with the names of those that failed.
        BrokenPipeError: the program that read the frames has gone.
    """
    from fomm.animator.credentials import SIGNED
    from fomm.model.face import Edit
    from fomm.video import feed, is_pipe
    from fomm.video.camera import opened_camera
    from studio.animation import load_tools, outputs_of
    from studio.batch import animate, list_pairs
    from studio.recording import record

    options.check()
    edit = Edit.parse(options.edit) if options.edit else None
    bars = Bars()
    results, failures = [], []
    with ExitStack() as stack:
        stack.callback(bars.close)
        if is_pipe(Path(options.output)):
            bars.print(f"{options.output}: a named pipe; the frames wait until somebody reads it")
        if options.camera is not None:
            list_pairs(options.source, options.source, options.output)  # what is wrong with the others is said first
            output = Path(options.output)
            if feed(output):
                drive_live(options, options.camera, stack, bars)
                return []
            recording = output.parent / f"{output.stem}_driving.mp4"
            with opened_camera(options.camera) as camera:
                record(camera, recording, options.seconds, bars.print, progress=bars)
            options = replace(options, driving=str(recording))
        pairs = list_pairs(options.source, edit or options.driving, options.output)
        if len(pairs) == 1:  # what is wrong with the one result is said at once, too
            outputs_of(pairs[0][2], options, *pairs[0][: 1 if edit else 2])
        warn = lambda sentence: bars.print(f"warning: {sentence}")  # noqa: E731
        tools = load_tools(options, options, stack, warn)
        bars.print(f"model {options.checkpoint} {tools}")
        for source, driving, output in pairs:
            try:
                result = animate(source, edit or driving, output, options, tools, progress=bars, warn=warn)
            except InputError as error:
                if len(pairs) == 1:
                    raise
                failures.append(output)
                bars.print(f"error: {error}")
                continue
            results.append(result)
            if not result.outputs:
                bars.print(f"sent {result}")
                continue
            bars.print(f"wrote {result}", file=sys.stdout)
            if result.outputs[0].suffix.lower() not in SIGNED:
                bars.print(
                    f"{output}: this kind of file carries no content credentials; {result.sidecar} is all there is"
                )
    if failures:
        names = ", ".join(path.name for path in failures)
        raise InputError(f"{len(failures)} of {len(pairs)} pairs failed (see above): {names}; the others are done")
    return results


def drive_live(options: Options, number: int, stack: ExitStack, bars: Bars) -> None:
    """Camera `number` drives the photo for another program, until Ctrl-C or until that program ends.

    Raises: as `studio.live.send_live`, and InputError for anything wrong with the photo or the model.
    """
    from fomm.video import read_image
    from fomm.video.camera import opened_camera
    from studio.animation import load_tools, outputs_of
    from studio.live import send_live

    outputs_of(Path(options.output), options)
    photo = read_image(options.source)
    camera = stack.enter_context(opened_camera(number))
    tools = load_tools(options, options, stack, lambda sentence: bars.print(f"warning: {sentence}"))
    bars.print(f"model {options.checkpoint} {tools}")
    send_live(camera, photo, Path(options.output), options, tools, bars.print)


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line, whose schema is the signature of `Options`.

    Raises:
        InputError: unknown, missing or wrong options, on one line.
    """
    return command_line.parse(Options, "infer.py", arguments, usage=USAGE, description=DESCRIPTION)


def main() -> None:
    options = parse()
    with redirect_stdout(sys.stderr) if options.output == "-" else nullcontext():  # frames alone go to stdout
        infer(options)


if __name__ == "__main__":
    run(main)
