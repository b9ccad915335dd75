"""`python -m preprocess puppets | puppet_pairs | puppet_demo | figures ...` (`--help` after each explains it)."""

from fomm.errors import run


def main() -> None:
    """Parse the command line and run it."""
    from jsonargparse import CLI

    from preprocess import figures, puppets

    commands = {
        "puppets": puppets.write_dataset,
        "puppet_pairs": puppets.write_pairs,
        "puppet_demo": puppets.write_demo,
        "figures": figures.write_videos,
    }
    CLI(commands, prog="python -m preprocess", as_positional=False)


if __name__ == "__main__":
    run(main)
