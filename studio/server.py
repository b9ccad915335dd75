"""The page's server, as an ASGI application."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.requests import ClientDisconnect

from fomm.errors import InputError
from fomm.known import KNOWN
from studio.guard import MAX_UPLOAD_MB, Guard
from studio.jobs import Stopped
from studio.page import build_page
from studio.visitors import Studio

LOOKS = Path(__file__).resolve().parent
MAX_BODY_S = 20.0  # until a picture of the camera is here
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYWHERE = ("", "0.0.0.0", "::")


def build_app(
    work: Studio, *, checkpoint: str, host: str, report: str | None, token: str | None = None, names: Sequence[str] = ()
) -> Callable:
    """The server, as an ASGI application.

    Args:
        checkpoint: the model to start with.
        host: address that it will listen on.
        report: the text of a report.html.
        token: as for `Guard`.
        names: more names of this machine, by which it may be asked.
    """
    app = FastAPI(openapi_url=None)
    if report is not None:

        @app.get("/report")
        def show_report() -> HTMLResponse:
            return HTMLResponse(report)

    @app.get("/alive")
    def alive() -> Response:
        return Response(status_code=204)

    add_route(app, work)
    models = list(dict.fromkeys([checkpoint, "face", *KNOWN]))
    page = build_page(work, models, with_report=report is not None)
    font = ("system-ui", "sans-serif")
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=host,
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
    close_gaps(page, work.folder)
    return Guard(app, work.folder, {name.lower() for name in (*names_of(host), *names)}, token)


def close_gaps(page: gr.Blocks, folder: Path) -> None:
    """Let a mounted page read nothing but what was uploaded into `folder`, and fetch nothing.

    Gradio has no documented way to do this. The names that are set here are checked for one minor version, to which
    pyproject.toml holds it; whoever raises that reads Gradio's `processing_utils` and `blocks` again first.
    """
    # Gradio refuses files that it was not given only once it was "launched", which mounting leaves out.
    page.has_launched = page.is_running = True
    for block in page.blocks.values():
        if isinstance(block, gr.components.Component):
            move, read = block.async_move_resource_to_block_cache, block.preprocess
            block.async_move_resource_to_block_cache = local_only(move)  # type: ignore[method-assign]
            block.preprocess = uploaded_only(read, folder)  # type: ignore[method-assign]


def names_of(host: str) -> set[str]:
    """Names and addresses under which what listens on `host` is asked for; of other machines' names none."""
    if host in LOOPBACK:
        return {*LOOPBACK}
    own = {socket.gethostname(), socket.getfqdn()}
    for addresses in psutil.net_if_addrs().values():
        own |= {
            entry.address.partition("%")[0] for entry in addresses if entry.family in (socket.AF_INET, socket.AF_INET6)
        }
    return {*LOOPBACK, *own} if host in ANYWHERE else {*LOOPBACK, *own, host}


def local_only(move: Callable) -> Callable:
    """A component's way to accept files, without folders and what it would fetch from an address."""

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


def add_route(app: FastAPI, work: Studio) -> None:
    """The address at which the page's script hands in the camera's pictures: /live/ and the visitor's folder's name."""

    @app.post("/live/{name}")
    async def drive(name: str, request: Request, neutral: bool = False) -> Response:
        try:
            data = await asyncio.wait_for(request.body(), MAX_BODY_S)
            picture = await work.drive(name, data, neutral=neutral)
        except (ClientDisconnect, asyncio.TimeoutError):
            return PlainTextResponse("the picture did not arrive", 408)
        except InputError as error:
            return PlainTextResponse(str(error), 409)
        except Stopped:  # for another one
            return Response(status_code=204)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "no-store"})
