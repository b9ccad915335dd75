"""`python -m preprocess puppets | puppet_pairs | puppet_demo | figures ...` (`--help` after each explains it)."""

from jsonargparse import CLI

from fomm.errors import run
from preprocess import figures, puppets

if __name__ == "__main__":
    commands = {
        "puppets": puppets.write_dataset,
        "puppet_pairs": puppets.write_pairs,
        "puppet_demo": puppets.write_demo,
        "figures": figures.write_videos,
    }
    run(lambda: CLI(commands, prog="python -m preprocess", as_positional=False))
