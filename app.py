"""The script that opens the studio: record, animate and compare on one local page in the browser.

The page (`studio/`) is made of Gradio's components over what `infer.py` calls. Its server listens to this machine alone
unless `--host` says otherwise, talks to nobody, answers only what the page needs, and keeps what visitors bring in a
private folder that is removed at the end. Everything heavy is imported where it is used.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fomm import command_line
from fomm.errors import InputError, run
from fomm.files import private_folder
from fomm.known import KNOWN, resolve


@dataclass(frozen=True)
class Settings:
    """Open the studio in the browser.

    Args:
        checkpoint: the model to start with: a known name, or a file. The page offers all known ones beside it.
        report: a report.html of evaluate.py, or the folder that holds it; shown in a tab of its own.
        host: address to listen on. Any but 127.0.0.1 opens the page to everybody who can reach this machine and has the
            address with the token that is printed then.
        names: more names by which this machine may be asked, such as that of a proxy before it; its own are known.
        port: 0 takes any free one.
        browser: open the page in this machine's browser.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: as for infer.py.
    """

    checkpoint: str = "face"
    report: str | None = None
    host: str = "127.0.0.1"
    names: list[str] = field(default_factory=list)
    port: int = 7860
    browser: bool = True
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


def read_report(name: str | None) -> str | None:
    if name is None:
        return None
    path = Path(name) / "report.html" if Path(name).is_dir() else Path(name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"--report {path}: cannot be read ({reason}); give a report.html of evaluate.py") from error


def listening(host: str, port: int) -> socket.socket:
    """Raises InputError where nobody can listen there."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen there ({error.strerror}); try --port 0"
        raise InputError(f"--host {host} --port {port}: {reason}") from error


def serve(settings: Settings) -> None:
    """Open the page and stay until Ctrl-C (or SIGTERM, or a hang-up); then remove all that was kept.

    Raises:
        InputError: the checkpoint, the report or the port is not right, or Gradio is missing.
    """
    report = read_report(settings.report)
    if settings.checkpoint not in KNOWN:
        resolve(settings.checkpoint)
    # A hang-up, too, unless `nohup` has it ignored.
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ends = [number for number in ends if signal.getsignal(number) != signal.SIG_IGN]
    for number in ends:  # so that the folder is removed
        signal.signal(number, lambda *_: sys.exit(0))
    with closing(listening(settings.host, settings.port)) as connection, private_folder("fomm-studio") as folder:
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # Gradio looks here as soon as it is imported
        os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "gradio")
        try:
            import gradio  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError("the page needs Gradio, which is not installed; run: pip install -e '.[app]'") from error
        import uvicorn

        from fomm.checkpoint import load_model
        from studio.server import LOOPBACK, build_app
        from studio.visitors import Studio

        if settings.checkpoint not in KNOWN:
            load_model(settings.checkpoint)  # says now what is wrong with the file
        with closing(Studio(folder, device=settings.device, precision=settings.precision)) as work:
            token = None if settings.host in LOOPBACK else secrets.token_urlsafe(24)
            app = build_app(
                work,
                checkpoint=settings.checkpoint,
                host=settings.host,
                report=report,
                token=token,
                names=settings.names,
            )
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3))
            # What the end of the server interrupts is no error.
            logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
            work.warm_up(settings.checkpoint)
            for number in ends:  # of which Uvicorn itself knows one
                signal.signal(number, server.handle_exit)
            url = f"http://{shown_host(settings.host)}:{connection.getsockname()[1]}"
            url += f"/?token={token}" if token else ""
            print(f"Studio: {url} (Ctrl-C ends it)", flush=True)
            if settings.browser and has_screen():
                threading.Timer(1.0, webbrowser.open, [url]).start()
            server.run(sockets=[connection])


def shown_host(host: str) -> str:
    """What a browser on this machine calls the address that the server listens to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings from the command line, whose schema is the signature of `Settings`.

    Raises:
        InputError: unknown or wrong options, on one line.
    """
    return command_line.parse(Settings, "app.py", arguments, description=__doc__)


def main() -> None:
    serve(parse())


if __name__ == "__main__":
    run(main)
