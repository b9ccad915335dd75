"""What the page's server answers, and what a browser may do with its answers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response

MAX_UPLOAD_MB = 300
MAX_UPLOAD_S = 300.0
_MULTIPART_BYTES = 1 << 20  # what stands around the file in an upload
MAX_MESSAGE_BYTES = 8 << 20  # of everything but uploads
MAX_HELD_BYTES = 5 << 30  # of all visitors' files; then nothing more is taken
END_ARRIVES_S = 0.5  # after which a browser, a busy one too, has read that its stream of answers ends

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


def bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # passes over folders that go at this moment; `Path.rglob` fails on them
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


class Guard:
    """ASGI middleware: lets through only what the page itself asks for, and says what the browser may do with it.

    An upload reaches the server behind only when it is here as a whole: of one that is broken off nothing stays.

    Args:
        app: the server behind it.
        folder: the only one whose files are served, and where uploads arrive.
        hosts: names under which the page may be asked for (an address that somebody's name server points here is none
            of them).
        token: who wants in has to show this once, as `?token=` of the page's address; None: nobody has to.
    """

    def __init__(self, app: Callable, folder: Path, hosts: Collection[str], token: str | None = None) -> None:
        self._app, self._folder, self._hosts, self._token = app, folder, hosts, token
        # Cookies of two studios on one machine, which are not told apart by port.
        self._cookie = f"studio-{hashlib.sha256((token or '').encode()).hexdigest()[:8]}"
        self._arriving = 0  # bytes of uploads that are not whole yet
        self._taking_in = asyncio.Lock()
        self._stream_ended = -END_ARRIVES_S
        self._paths = re.compile(
            r"/(|alive|live/[\w-]+|config|theme\.css|manifest\.json|favicon\.ico|report|(assets|static|svelte)/.*|gradio_api/("
            r"info|startup-events|theme\.css|run/predict|queue/(join|data)|upload|upload_progress|heartbeat/[\w-]+|cancel|reset|"
            rf"stream/[\w-]+(/close)?|file={re.escape(str(folder))}/.*))/?"
        )

    def _refusal(self, scope: dict, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        if name not in self._hosts:
            return PlainTextResponse("this server does not answer to that name", 421)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return PlainTextResponse("another site may not use this server", 403)
        if self._token is not None:
            shown = QueryParams(scope["query_string"]).get("token", "")
            if scope["path"] == "/" and secrets.compare_digest(shown.encode(), self._token.encode()):
                answer = RedirectResponse("/", 303)  # so that the token stays in no address
                answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
                return answer
            known = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
            if not secrets.compare_digest(known.encode(), self._token.encode()):
                return PlainTextResponse("open the address with the token that was printed when the studio began", 403)
        if not self._paths.fullmatch(scope["path"]):
            return PlainTextResponse("no such page", 404)
        if scope["path"].endswith("/upload"):
            if bytes_in(self._folder) + self._arriving > MAX_HELD_BYTES:
                return PlainTextResponse("too many files are here already; come back later", 507)
        elif scope["method"] == "POST":
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MAX_MESSAGE_BYTES:
                return PlainTextResponse("too large", 413)
        return None

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal:
            await refusal(scope, receive, send)
            return

        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                policy = REPORT_POLICY if scope["path"].startswith("/report") else PAGE_POLICY
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
                if scope["path"].endswith("/queue/join"):
                    # Gradio's page waits for ever for what it asked for while the stream of its answers was ending: it
                    # opens a new one only if it reads of the end first.
                    await asyncio.sleep(self._stream_ended + END_ARRIVES_S - time.monotonic())
            elif scope["path"].endswith("/queue/data") and b'"close_stream"' in message.get("body", b""):
                self._stream_ended = time.monotonic()
            await send(message)

        if scope["path"].endswith("/upload"):
            await self._upload(scope, receive, send_with_policy)
        else:
            await self._app(scope, receive, send_with_policy)

    async def _upload(self, scope: dict, receive: Callable, send: Callable) -> None:
        with tempfile.TemporaryFile(
            dir=self._folder
        ) as body:  # it has no name: it goes with this process at the latest
            refusal = None
            try:
                if not await asyncio.wait_for(self._arrives(receive, body), MAX_UPLOAD_S):
                    return
            except asyncio.TimeoutError:
                refusal = PlainTextResponse("the upload took too long", 408)
            except OSError:
                refusal = PlainTextResponse("there is no room for it; come back later", 507)
            finally:
                self._arriving -= body.tell()
            if body.tell() > MAX_UPLOAD_MB * 2**20 + _MULTIPART_BYTES:
                refusal = PlainTextResponse(f"too large: an upload may have {MAX_UPLOAD_MB} MB", 413)
            if refusal:
                await refusal(scope, receive, send)
                return
            body.seek(0)
            more = True

            async def replay() -> dict:
                nonlocal more
                if not more:
                    return await receive()
                piece = body.read(1 << 18)
                more = bool(piece)
                return {"type": "http.request", "body": piece, "more_body": more}

            async with self._taking_in:
                try:
                    await self._app(scope, replay, send)
                finally:
                    for part in self._folder.glob("tmp*"):  # Gradio leaves them where it refuses an upload
                        if part.is_file():
                            part.unlink()

    async def _arrives(self, receive: Callable, body: IO[bytes]) -> bool:
        """Whether all of it came, as far as an upload may be long; else the client has gone."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            body.write(piece)
            self._arriving += len(piece)
            if not message.get("more_body") or body.tell() > MAX_UPLOAD_MB * 2**20 + _MULTIPART_BYTES:
                return True
