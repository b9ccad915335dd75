"""`python -m preprocess dataset | puppets | ...`; `--help` lists the commands, `COMMAND --help` explains one."""

from __future__ import annotations

import sys
from importlib import import_module

from fomm.command_line import call, choose_command
from fomm.errors import run

COMMANDS = {  # name: (module, function, what it does)
    "dataset": ("dataset.build", "prepare_dataset", "videos -> clips and a manifest, on this machine or a cluster"),
    "check": ("dataset.check", "check", "is a data set what its manifest says? pictures show what is in it"),
    "pairs": ("dataset.pairs", "make_pairs", "a list of who animates whom, for evaluation"),
    "face": ("show", "face", "draw what is found in a photo, and its crop"),
    "crop_video": ("show", "crop_video", "write the crop of a driving video that the model gets to see"),
    "motion": ("motion", "motion", "record what the face in a clip does as a small file without a picture"),
    "puppets": ("synthetic.puppets", "write_puppets", "draw a data set of talking puppets with exact truth"),
    "puppet_pairs": ("synthetic.puppets", "write_puppet_pairs", "draw cross-identity animation with its exact answer"),
    "puppet_demo": ("synthetic.puppets", "write_demo", "draw the portrait and the clip of the demonstration"),
    "scenes": (
        "synthetic.scenes",
        "write_scenes",
        "draw videos of two people with exact boxes, to measure preparation",
    ),
    "heads": ("synthetic.head_set", "write_heads", "draw a training set of heads near to people's, with their meshes"),
    "directions": ("synthetic.directions", "write_directions", "measure on drawn heads what expressions do to a face"),
    "motions": ("synthetic.motions", "write_motions", "draw the motions that come with the package"),
    "figures": ("synthetic.figures", "write_figures", "draw dancers, for the fine-tuning tutorial"),
}
POSITIONAL = ("check", "pairs", "face", "crop_video", "motion")  # `face PHOTO` rather than `face --photo PHOTO`


def main() -> None:
    """Parse the command line and run the command; only its own module is loaded."""
    texts = {name: text for name, (_, _, text) in COMMANDS.items()}
    name = choose_command("python -m preprocess", "Pictures and videos -> training data.", texts)
    module, function, _ = COMMANDS[name]
    command = getattr(import_module(f"preprocess.{module}"), function)
    call(command, f"python -m preprocess {name}", sys.argv[2:], as_positional=name in POSITIONAL)


if __name__ == "__main__":
    run(main)
