"""What the page's server answers, and what a browser may do with its answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

MAX_UPLOAD_S = 300.0
MAX_MESSAGE_BYTES = 8 << 20  # of everything but uploads
MAX_HELD_BYTES = 5 << 30  # of all visitors' files; then nothing more is taken

# The page may load from and talk to its own server alone; the browser holds it to that.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
# A report is somebody's file: it needs no script, and may reach nothing, neither this page nor any address.
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; font-src data:; "
    "frame-ancestors 'self'"
)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it goes at this moment
            total += path.stat().st_size
    return total


class Guard:
    """ASGI middleware: lets through only what the page itself asks for, and says what the browser may do with it.

    Args:
        app: the server behind it.
        folder: the only one whose files are served.
        hosts: names under which the page may be asked for (an address that somebody's name server points here is none
            of them); None: any.
    """

    def __init__(self, app: Callable, folder: Path, hosts: tuple[str, ...] | None) -> None:
        self._app, self._folder, self._hosts = app, folder, hosts
        self._paths = re.compile(
            r"/(|alive|live/[\w-]+|config|theme\.css|manifest\.json|favicon\.ico|report|(assets|static|svelte)/.*|gradio_api/("
            r"info|startup-events|theme\.css|run/predict|queue/(join|data)|upload|upload_progress|heartbeat/[\w-]+|cancel|reset|"
            rf"stream/[\w-]+(/close)?|file={re.escape(str(folder))}/.*))/?"
        )

    def _refusal(self, scope: dict, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        if self._hosts is not None and name not in self._hosts:
            return 421, "this server does not answer to that name"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "another site may not use this server"
        if not self._paths.fullmatch(scope["path"]):
            return 404, "no such page"
        if scope["path"].endswith("/upload"):
            if _bytes_in(self._folder) > MAX_HELD_BYTES:
                return 507, "too many files are here already; come back later"
        elif scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MAX_MESSAGE_BYTES:
                return 413, "too large"
        return None

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)
            return
        started = False

        async def send_with_policy(message: dict) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                policy = REPORT_POLICY if scope["path"].startswith("/report") else PAGE_POLICY
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        answer = self._app(scope, receive, send_with_policy)
        if not scope["path"].endswith("/upload"):
            await answer
            return
        try:
            await asyncio.wait_for(answer, MAX_UPLOAD_S)
        except asyncio.TimeoutError:
            if not started:
                await PlainTextResponse("the upload took too long", 408)(scope, receive, send)
