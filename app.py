"""The script that opens the studio: record, animate and compare on one local page in the browser.

The page (`studio/`) is made of Gradio's components over what `infer.py` calls. Its server listens to this machine alone
unless `--host` says otherwise, talks to nobody, answers only what the page needs, and keeps what visitors bring in a
private folder that is removed at the end. Everything heavy is imported where it is used.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fomm import command_line
from fomm.errors import InputError, run
from fomm.known import KNOWN, resolve

if TYPE_CHECKING:
    from studio.visitors import Studio

LOOKS = Path(__file__).resolve().parent / "studio"
MAX_UPLOAD_MB = 300
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Open the studio in the browser.

    Args:
        checkpoint: the model to start with: a known name, or a file. The page offers all known ones beside it.
        report: a report.html of evaluate.py, or the folder that holds it; shown in a tab of its own.
        host: address to listen on. Any but 127.0.0.1 opens the page to everybody who can reach this machine.
        port: 0 takes any free one.
        browser: open the page in this machine's browser.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: as for infer.py.
    """

    checkpoint: str = "puppets"
    report: str | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    browser: bool = True
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


def build_app(work: "Studio", settings: Settings, report: str | None) -> Callable:
    """The server, as an ASGI application; `report` is the text of a report.html."""
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse, Response

    from studio.gate import Gate
    from studio.live import add_route
    from studio.page import build_page

    app = FastAPI(openapi_url=None)
    if report is not None:

        @app.get("/report")
        def show_report() -> HTMLResponse:
            return HTMLResponse(report)

    @app.get("/alive")
    def alive() -> Response:
        return Response(status_code=204)

    add_route(app, work)
    models = list(dict.fromkeys([settings.checkpoint, "puppets", *KNOWN]))
    page = build_page(work, models, with_report=report is not None)
    font = ("system-ui", "sans-serif")
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=settings.host,
        theme=gr.themes.Soft(primary_hue="indigo", font=font, font_mono=("monospace",)),
        css=(LOOKS / "page.css").read_text(),
        js=(LOOKS / "page.js").read_text(),
        max_file_size=f"{MAX_UPLOAD_MB}mb",
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    work.shared = {path for path in work.folder.rglob("*") if path.is_file()}
    # Gradio refuses files that it was not given only once it was "launched", which mounting leaves out.
    page.has_launched = page.is_running = True
    for block in page.blocks.values():
        if isinstance(block, gr.components.Component):
            block.async_move_resource_to_block_cache = local_only(block.async_move_resource_to_block_cache)
            block.preprocess = uploaded_only(block.preprocess, work.folder)
    return Gate(app, work.folder, LOOPBACK if settings.host in LOOPBACK else None)


def local_only(move: Callable) -> Callable:
    """A component's way to take over files, without folders and what it would fetch from an address."""

    async def checked(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise ValueError(f"{path}: files are uploaded here, not fetched")
        if path and Path(path).is_dir():  # it could never be removed again as a file
            raise ValueError(f"{path}: is a folder")
        return await move(path)

    return checked


def uploaded_only(read: Callable, folder: Path) -> Callable:
    """A component's way to read its input, without files that were not uploaded.

    Gradio looks at the path of an input only where the request itself says that this is one.
    """

    def checked(payload: Any) -> Any:
        path = getattr(payload, "path", None)
        if path and folder not in Path(path).resolve().parents:
            raise ValueError(f"{path}: was not uploaded here")
        return read(payload)

    return checked


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
    """Open the page and stay until Ctrl-C (or SIGTERM); then remove all that was kept.

    Raises:
        InputError: the checkpoint, the report or the port is not right, or Gradio is missing.
    """
    report = read_report(settings.report)
    if settings.checkpoint not in KNOWN:
        resolve(settings.checkpoint)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed
    with (
        closing(listening(settings.host, settings.port)) as connection,
        tempfile.TemporaryDirectory(prefix="fomm-studio-", ignore_cleanup_errors=True) as name,  # this user's (0700)
    ):
        folder = Path(name).resolve()
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # Gradio looks here as soon as it is imported
        os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "gradio")
        try:
            import gradio  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError("the page needs Gradio, which is not installed; run: pip install -e '.[app]'") from error
        import uvicorn

        from fomm.checkpoint import load_model
        from studio.visitors import Studio

        if settings.checkpoint not in KNOWN:
            load_model(settings.checkpoint)  # says now what is wrong with the file
        with closing(Studio(folder, device=settings.device, precision=settings.precision)) as work:
            app = build_app(work, settings, report)
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3))
            # What the end of the server interrupts is no error.
            logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
            work.warm_up(settings.checkpoint)
            url = f"http://{shown_host(settings.host)}:{connection.getsockname()[1]}"
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
