"""Small tools: `python -m fomm convert | convert_config | export | info | strip | verify`; `--help` explains each."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from fomm.command_line import call, choose_command
from fomm.errors import InputError, run

PARTS = ("discriminator", "optimizer_generator", "optimizer_discriminator", "optimizer_kp_detector", "epoch")


def convert(checkpoint: str, output: Path, half: bool = False) -> None:
    """Write a checkpoint in another format: its networks, and in the original's format also discriminator, optimisers
    and epoch, as far as it has them; what is not written is told.

    Args:
        checkpoint: name or path, in any format that the loader knows.
        output: `*.safetensors` for this project's weights file, `*.pth.tar` for the original's format.
        half: store convolution weights as float16 in a weights file: half the size.
    """
    from fomm.checkpoint import Checkpoint, TrainingState, export_original, save_weights
    from fomm.checkpoint.architectures import FOMM_NAME

    if output.suffix != ".safetensors" and not output.name.endswith(".pth.tar"):
        raise InputError(f"{output}: the name decides the format; end it in .safetensors or .pth.tar")
    read = Checkpoint.read(checkpoint)
    model, info = read.model()
    if output.suffix != ".safetensors" and half:
        raise InputError("--half true: the original's format has float32 only; write a .safetensors file")
    if output.suffix == ".safetensors":
        provenance = {**info.provenance, "converted_from_sha256": info.sha256}
        save_weights(
            output, model, category=info.category, image_size=info.image_size, half=half, provenance=provenance
        )
        if left_out := [part for part in PARTS if getattr(read.contents.training, part) is not None]:
            print(f"note: left out, since a weights file is for inference: {', '.join(left_out)}")
    else:
        training = read.training_state() if read.architecture == FOMM_NAME else TrainingState()
        export_original(output, model, training=training)
        if missing := [part for part in PARTS if getattr(training, part) is None]:
            print(
                f"note: without {', '.join(missing)}, which {checkpoint} does not have, or not for all parameters; the "
                "original can animate with it, but not go on training"
            )
        elif "averaged weights" in read.notes:
            print("note: the weights are the running average, the optimisers' moments those of the trained weights")
    print(f"{output}: written")


def convert_config(original: Path, output: Path) -> None:
    """Turn a training config (YAML) of the original into one of `train.py`'s.

    Args:
        original: such a file, `config/*.yaml` of the original.
        output: the new file.
    """
    from fomm.training.original_config import convert_config as write_converted

    for note in write_converted(original, output):
        print(f"note: {note}")
    print(f"{output}: written")


def export(checkpoint: str, output: Path, size: int | None = None) -> None:
    """Write a model as ONNX, for use without PyTorch: keypoint_detector, source_encoder and animator; of the model
    `face` its generator.

    Args:
        checkpoint: name or path, in any format that the loader knows.
        output: folder for the files.
        size: side of the pictures in pixels. Default: the checkpoint's. The generator of `face` has one size.
    """
    from fomm.checkpoint import export_onnx, load_model
    from fomm.model.face import FaceModel

    model, about = load_model(checkpoint)
    if isinstance(model, FaceModel) and size is not None:
        raise InputError(f"--size {size}: the generator of this model has one size; leave it out")
    for file in export_onnx(model, output, image_size=size or about.image_size):
        print(f"{file}: written")


def info(checkpoint: str) -> None:
    """Say what a checkpoint is: format, hash, category, sizes of its networks, how it was made.

    Args:
        checkpoint: name or path, in any format that the loader knows.
    """
    from fomm.checkpoint import load_model
    from fomm.model.face import FaceModel
    from fomm.model.face.generator import PATCH_WH
    from fomm.model.face.mesh import NUM_LANDMARKS

    model, about = load_model(checkpoint)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(about.path)
    print(f"sha256 {about.sha256}")
    print(f"format {about.format}, category {about.category}, {about.image_size}x{about.image_size} pixels")
    print(f"{count / 1e6:.1f} million parameters: {model.config}")
    if isinstance(model, FaceModel):
        print(f"keypoints: the {NUM_LANDMARKS} landmarks of a face mesh; dense motion: computed from them, by depth")
        print("generator: paints the inside of the mouth, on {}x{} pixels; photos keep their size".format(*PATCH_WH))
    for key, value in about.provenance.items():
        print(f"{key}: {value}")
    for note in about.notes:
        print(f"note: {note}")


def strip(video: Path, output: Path, count: int = 5) -> None:
    """Put frames of a video, evenly spread over its length, above one another in one picture.

    Args:
        video: any video.
        output: the picture.
        count: frames.
    """
    import numpy as np

    from fomm.video import VideoReader, write_image

    if count < 1:
        raise InputError(f"--count {count}: must be at least 1")
    total = sum(1 for _ in VideoReader(video))  # headers promise, frames count
    wanted = {round((i + 0.5) * total / count - 0.5) for i in range(count)}
    rows = [frame.image for index, frame in enumerate(VideoReader(video)) if index in wanted]
    write_image(output, np.vstack(rows))
    print(f"{output}: {len(rows)} of {total} frames")


def verify(file: Path) -> None:
    """Say what a result claims in its content credentials, and whether it was altered since; exit code 1 if it was.

    Args:
        file: a result: mp4, mov, jpg or png.
    """
    from fomm.animator.credentials import verify as verified

    said, intact = verified(file)
    print("\n".join(said))
    if not intact:
        raise SystemExit(1)


def main() -> None:
    """Parse the command line and run the command."""
    commands = {command.__name__: command for command in (convert, convert_config, export, info, strip, verify)}
    texts = {name: (inspect.getdoc(command) or "").partition("\n\n")[0] for name, command in commands.items()}
    name = choose_command("python -m fomm", "Small tools for checkpoints and results.", texts)
    call(commands[name], f"python -m fomm {name}", sys.argv[2:], as_positional=True)


if __name__ == "__main__":
    run(main)
