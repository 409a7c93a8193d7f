"""The page's server: static files, and requests that answer with lines of JSON while the work goes on.

Nothing is loaded from elsewhere: the content security policy forbids it. A visitor is known by a cookie and sees the
results of that cookie alone; texts are not kept beyond the last results of the last visitors.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError, CtrlGError
from ctrlg.files.outputs import require_packages
from ctrlg.generation import GenerationResult, Generator
from ctrlg.page.asking import MOST_SUGGESTIONS, Asked, Refused, asked
from ctrlg.page.comparing import Comparison
from ctrlg.page.fields import FIELDS, LONGEST_PHRASE, MOST_PHRASES
from ctrlg.page.jobs import Job, Queue, Stopped
from ctrlg.page.settings import LOOPBACK, PageSettings
from ctrlg.page.snippets import EMBEDDED, call
from ctrlg.page.writing import Writer, place_of, suggestion, trace_values
from ctrlg.terminal.console import say

_STATIC = Path(__file__).parent / "static"
_MOST_BYTES = 400_000  # of a request
_KEPT_SEARCHES, _KEPT_VISITORS = 8, 64
_TICK_SECONDS = 0.1
_COOKIE = "ctrlg-visitor"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def bound_socket(settings: PageSettings) -> socket.socket:
    """A socket that listens where the settings say. Raises ArgumentError where that is not possible."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(64)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ArgumentError(
            f"cannot listen on {settings.host}, port {settings.port}: {error}",
            hint="another page may run there: choose another --port, or 0 for one that is free",
        ) from error
    return listening


def address(listening: socket.socket, host: str) -> str:
    """What to type into a browser to reach a socket."""
    port = listening.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


@checked
def serve(
    make: Callable[..., Any], settings: PageSettings, name: str, python: str = EMBEDDED, listening: Any = None
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        make: loads the models and returns a Generator; called in a thread while the page already answers.
        settings: where to listen.
        name: of the language model, shown on the page.
        python: what makes the generator, for the snippets that the page shows.
        listening: the socket, where it is bound already.

    Raises:
        ArgumentError: the packages of the extra `page` are missing, or the address cannot be listened on.
    """
    require_packages(["starlette", "uvicorn"], "page")
    listening = bound_socket(settings) if listening is None else listening
    http_server(Page(make, settings, name, python)).run(sockets=[listening])


@contextmanager
def in_background(page: Page) -> Iterator[str]:
    """Serve a page in a thread of its own; the address, on which the page answers while the block runs."""
    listening = bound_socket(page.settings)
    server = http_server(page)
    thread = threading.Thread(target=server.run, args=([listening],), name="ctrlg page, serving", daemon=True)
    thread.start()
    try:
        yield address(listening, page.settings.host)
    finally:
        server.should_exit = True
        thread.join()


def http_server(page: Page) -> Any:
    """The server of a page (uvicorn's), which `run` starts on sockets; it tells nobody what it is, and keeps no log."""
    import uvicorn

    config = uvicorn.Config(
        page.app(), log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


class Page:
    """The state behind the page: models, queue, visitors."""

    def __init__(
        self, make: Callable[[], Generator], settings: PageSettings, name: str, python: str = EMBEDDED
    ) -> None:
        self.settings = settings
        self.name = name
        self.python = python
        self.queue = Queue()
        self.writer: Writer | None = None
        self.comparison: Comparison | None = None
        self.failure = ""
        self._searches: OrderedDict[str, OrderedDict[str, list[GenerationResult]]] = OrderedDict()
        self._checks = ThreadPoolExecutor(1, "ctrlg page, checking")
        self._last_check: OrderedDict[str, object] = OrderedDict()
        threading.Thread(target=self._load, args=(make,), name="ctrlg page, loading", daemon=True).start()

    def app(self) -> Any:
        """The application, for an ASGI server."""
        from starlette.applications import Starlette
        from starlette.routing import Mount, Route
        from starlette.staticfiles import StaticFiles

        routes = [
            Route("/", self._index),
            Route("/api/page", self._about),
            *(
                Route(f"/api/{name}", self._guarded(answer), methods=["POST"])
                for name, answer in (
                    ("check", self._check),
                    ("prepare", self._prepare),
                    ("suggest", self._suggest),
                    ("trace", self._trace),
                    ("compare", self._compare),
                )
            ),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        return _Shell(Starlette(routes=routes), self.settings.host)

    def _load(self, make: Callable[[], Generator]) -> None:
        try:
            writer = Writer(make())
            writer.warm_up()
            self.comparison = Comparison(writer)
            self.writer = writer
        except Exception as error:
            reason = f"{error.message}. {error.hint}" if isinstance(error, CtrlGError) else str(error)
            self.failure = f"The models cannot be loaded: {reason}"
            say(self.failure, file=sys.stderr)

    async def _index(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse

        response = HTMLResponse((_STATIC / "index.html").read_text(encoding="utf-8"))
        if not request.cookies.get(_COOKIE):
            response.set_cookie(_COOKIE, secrets.token_urlsafe(24), httponly=True, samesite="strict", path="/")
        return response

    async def _about(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        hmm = None if self.writer is None else self.writer.generator.hmm
        return JSONResponse(
            {
                "ready": self.writer is not None,
                "failure": self.failure,
                "name": self.name,
                "guide": None if hmm is None else {"states": hmm.hidden_states, "bytes": getattr(hmm, "nbytes", None)},
                "fields": [
                    {"name": field.name, "label": field.label, "controls": [one._asdict() for one in field.controls]}
                    for field in FIELDS.values()
                ],
                "most_phrases": MOST_PHRASES,
                "longest_phrase": LONGEST_PHRASE,
                "most_suggestions": MOST_SUGGESTIONS,
            }
        )

    def _guarded(self, answer: Callable[[str, Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """An endpoint that takes JSON from the page's own scripts, and answers problems as JSON."""

        async def endpoint(request: Any) -> Any:
            from starlette.responses import JSONResponse

            visitor = request.cookies.get(_COOKIE, "")
            if not visitor:
                return JSONResponse({"error": "Reload the page; it needs its cookie to tell visitors apart."}, 403)
            if request.headers.get("content-type", "").split(";")[0] != "application/json":
                return JSONResponse({"error": "The page sends JSON."}, 415)
            if self.writer is None:
                return JSONResponse({"error": self.failure or "The models are still being loaded."}, 503)
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return JSONResponse({"error": "That is too much at once. Shorten the text or the lists."}, 413)
            try:
                return await answer(visitor, json.loads(body))
            except (ValueError, RecursionError):
                return JSONResponse({"error": "That is no JSON."}, 400)
            except Stopped as error:
                return JSONResponse(_problem(error), 422)

        return endpoint

    async def _check(self, visitor: str, given: Any) -> Any:
        """What is wrong with a request, and what it looks like in Python and JSON."""
        from starlette.responses import JSONResponse

        request = asked(given)
        mine = self._last_check[visitor] = object()
        self._last_check.move_to_end(visitor)
        while len(self._last_check) > _KEPT_VISITORS:
            self._last_check.popitem(last=False)

        def look() -> Asked | None:
            overtaken = self._last_check.get(visitor) is not mine
            return None if overtaken or self.writer is None else self.writer.fit(request)

        found = await asyncio.get_running_loop().run_in_executor(self._checks, look)
        if found is None:
            return JSONResponse({"overtaken": True})
        settings = {"n": found.number, **place_of(found)}
        return JSONResponse(
            {
                "notes": found.notes,
                "reads": _reads(found),
                "python": call(found.shown, settings, self.python),
                "json": json.dumps(found.shown.to_dict(), indent=2, ensure_ascii=False),
            }
        )

    async def _prepare(self, visitor: str, given: Any) -> Any:
        """Make the tables of a request while its visitor still looks at the page, if nobody else waits."""
        from starlette.responses import JSONResponse

        request, writer = asked(given), self._writer()
        if self.queue.idle:
            self.queue.add(Job(visitor, lambda _: writer.prepare(writer.fit(request)), self.settings.time_limit))
        return JSONResponse({})

    async def _suggest(self, visitor: str, given: Any) -> Any:
        request, writer = asked(given), self._writer()

        def done(job: Job) -> dict[str, Any]:
            key = self._keep(visitor, job.result)
            shown = [suggestion(one, request) for one in job.result]
            return {"search": key, "suggestions": shown, "reads": _reads(request), "notes": request.notes}

        return self._streamed(Job(visitor, lambda job: writer.suggest(request, job), self.settings.time_limit), done)

    async def _trace(self, visitor: str, given: Any) -> Any:
        if not isinstance(given, dict):
            raise Stopped("Ask for a suggestion again; this one is no longer kept.")
        results = self._searches.get(visitor, {}).get(str(given.get("search")), [])
        place = given.get("place")
        if not isinstance(place, int) or not 0 <= place < len(results):
            raise Stopped("Ask for a suggestion again; this one is no longer kept.")
        job = Job(visitor, lambda _: trace_values(results[place].trace()), self.settings.time_limit)
        return self._streamed(job, lambda job: {"trace": job.result})

    async def _compare(self, visitor: str, given: Any) -> Any:
        request, comparison = asked(given), self.comparison
        if comparison is None:
            raise Stopped("The models are still being loaded.")
        job = Job(visitor, lambda job: comparison.compare(request, job), 4 * self.settings.time_limit)
        return self._streamed(job, lambda job: {}, comparison)

    def _writer(self) -> Writer:
        if self.writer is None:
            raise Stopped("The models are still being loaded.")
        return self.writer

    def _keep(self, visitor: str, results: list[GenerationResult]) -> str:
        """Remember results, so that their traces can be asked for; old ones make room."""
        key = secrets.token_urlsafe(12)
        own = self._searches.setdefault(visitor, OrderedDict())
        self._searches.move_to_end(visitor)
        own[key] = results
        while len(own) > _KEPT_SEARCHES:
            own.popitem(last=False)
        while len(self._searches) > _KEPT_VISITORS:
            self._searches.popitem(last=False)
        return key

    def _streamed(self, job: Job, done: Callable[[Job], dict[str, Any]], comparison: Comparison | None = None) -> Any:
        """A line of JSON whenever something changes. A visitor who leaves, or aborts the request, cancels the job."""
        from starlette.responses import StreamingResponse

        return StreamingResponse(self._lines(job, done, comparison), media_type="application/x-ndjson")

    async def _lines(
        self, job: Job, done: Callable[[Job], dict[str, Any]], comparison: Comparison | None
    ) -> AsyncIterator[str]:
        try:
            while comparison is not None and not comparison.ready():
                yield _line({"event": "compressing", "message": comparison.status})
                await asyncio.sleep(5 * _TICK_SECONDS)
            self.queue.add(job)
            told: Any = None
            rows = 0
            while job.state != "done":
                now = {"ahead": self.queue.ahead_of(job), "decided": job.decided, "most": job.most, "state": job.state}
                if now != told:
                    yield _line({"event": "progress", **now})
                    told = now
                while rows < len(job.partial):
                    yield _line({"event": "row", "row": job.partial[rows]})
                    rows += 1
                await asyncio.sleep(_TICK_SECONDS)
            for row in job.partial[rows:]:
                yield _line({"event": "row", "row": row})
            if job.error is None:
                yield _line({"event": "done", "seconds": job.seconds, **done(job)})
            else:
                yield _line({"event": "error", **_problem(job.error)})
        except Stopped as error:
            yield _line({"event": "error", **_problem(error)})
        finally:
            self.queue.remove(job)


def _problem(error: CtrlGError | Stopped) -> dict[str, Any]:
    if isinstance(error, Refused):
        return {"error": "", "problems": error.problems}
    return {"error": f"{error.message}. {error.hint}" if isinstance(error, CtrlGError) else str(error), "problems": {}}


def _reads(request: Asked) -> str:
    return str(request.shown) if request.parts else ""


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"


class _Shell:
    """Around the application: requests from other sites are refused, and answers carry the security headers.

    A page of another site could otherwise send requests to this computer, or reach it under a name of its own (DNS
    rebinding).
    """

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._any_host = host not in LOOPBACK

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        known = self._any_host or urlsplit(f"//{host}").hostname in LOOPBACK
        if not known or (origin is not None and urlsplit(origin).netloc != host):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Open this page under its own address."})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        await self._app(scope, receive, with_headers)
