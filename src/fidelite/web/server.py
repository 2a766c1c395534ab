"""The server behind the page: a fixed table of files, and a few routes that speak JSON.

Nothing that a browser sends becomes a path: the page's files are found in a table made at the start, models by their
number. Other sites may not use it: the Host and the Origin of a request must be this server's own.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from fidelite.errors import FideliteError, InternalError, LoadError, UsageError
from fidelite.web.routes import Answer, Routes
from fidelite.web.shelf import Shelf

DEFAULT_PORT = 8765
MOST_BYTES = 2_000_000_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PIECE = 1 << 20
_PATIENCE = 60.0
"""Seconds that a connection may be silent."""
_MOST_JSON = 1 << 20

_PAGE = Path(__file__).parent
# Not from the system: Windows' registry may call JavaScript text/plain, which browsers refuse.
_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
          ".js": "text/javascript; charset=utf-8", ".wasm": "application/wasm", ".svg": "image/svg+xml",
          ".png": "image/png", ".txt": "text/plain; charset=utf-8", ".tflite": "application/octet-stream"}
# An isolated page may have threads; nothing is loaded from elsewhere, and WebAssembly may be compiled.
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
                               "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' blob:; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Served:
    """A running server. `address` is where the page is; `wait` returns when it is closed."""

    def __init__(self, server: _Server, address: str) -> None:
        self._server = server
        self.address = address
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        self._thread.start()

    @property
    def folder(self) -> Path:
        """Where dropped and converted models lie until it is closed."""
        return self._server.shelf.folder

    def wait(self) -> None:
        """Until the server is closed or interrupted (Ctrl+C)."""
        while self._thread.is_alive():
            self._thread.join(0.2)  # without a limit, Windows does not hear Ctrl+C

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.shelf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(model: Path | None, host: str, port: int | None, most_bytes: int) -> Served:
    """See `fidelite.web.serve`."""
    files = page_files()
    if "vendor/litert.js" not in files:
        raise UsageError("LiteRT.js, which the page runs models with, is not in this installation", code="F291",
                         remedy="in a checkout: python scripts/fetch_web.py\n"
                                "otherwise: pip install --force-reinstall fidelite")
    shelf = Shelf()
    try:
        first = "" if model is None else shelf.give(model).id
        server = _listen(host, port, partial(_Handler, host, Routes(shelf, first), files, most_bytes))
    except BaseException:
        shelf.close()
        raise
    server.shelf = shelf
    name = f"[{host}]" if ":" in host else host
    return Served(server, f"http://{name}:{server.server_port}/")


def page_files() -> dict[str, Path]:
    """What the page may load: name in the address -> file."""
    return {path.relative_to(root).as_posix(): path
            for folder, root in ((_PAGE / "page", _PAGE / "page"), (_PAGE / "vendor", _PAGE))
            for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in _TYPES}


def _listen(host: str, port: int | None, handler: Any) -> _Server:
    """On the port that was asked for; on any free one where none was and the usual one is taken."""
    try:
        return _Server((host, DEFAULT_PORT if port is None else port), handler)
    except (OSError, OverflowError) as error:
        if port is None:
            return _listen(host, 0, handler)
        raise UsageError(f"port {port} on {host} cannot be used: {error}", code="F290",
                         remedy="--port 0 takes a free one") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"
    """A port that was left a moment ago may be taken again. On Windows this would let two servers share one."""
    shelf: Shelf

    def __init__(self, place: tuple[str, int], handler: Any) -> None:
        import socket

        if ":" in place[0]:
            self.address_family = socket.AF_INET6
        super().__init__(place, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fidelite"
    sys_version = ""
    timeout = _PATIENCE

    def __init__(self, host: str, routes: Routes, files: Mapping[str, Path], most_bytes: int, *rest: Any) -> None:
        self._host, self._routes, self._files, self._most_bytes = host, routes, files, most_bytes
        super().__init__(*rest)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        self._handle(b"")

    def do_HEAD(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(None)

    # -- requests

    def _handle(self, body: bytes | None) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {k: v[-1] for k, v in parse_qs(parts.query).items()}
        try:
            self._check_origin(posted=body is None)
            if not path.startswith("/api/"):
                self._send_page(path.lstrip("/") or "index.html")
                return
            answer = self._upload(query) if path == "/api/models" and body is None else self._routes.answer(
                self.command, path.removeprefix("/api/"), query, self._json() if body is None else {})
        except FideliteError as error:
            answer = Answer({"errors": [e.to_json() for e in error.errors]}, _status_of(error))
            self.close_connection = True  # what was sent may not have been read to its end
        self._send(answer)

    def _check_origin(self, *, posted: bool) -> None:
        """Pages of other sites, and names that were bent to this address, have no business here. Raises F295."""
        host = self.headers.get("Host", "")
        own = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
        if self._host in _LOOPBACK and own not in _LOOPBACK:
            raise UsageError(f"this server is not '{host}'", code="F295", remedy="open the address that it printed")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise UsageError(f"a page of {origin} may not use this server", code="F295", remedy="open its own page")
        if posted and self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise UsageError("another site's page may not use this server", code="F295", remedy="open its own page")

    def _length(self, most: int) -> int:
        told = self.headers.get("Content-Length", "")
        if not told.isdecimal():
            raise UsageError("the request does not say how long it is", code="F293", remedy="send Content-Length")
        if int(told) > most:
            raise UsageError(f"{int(told):,} bytes are too many: at most {most:,}", code="F293",
                             remedy="give the file on the command line instead: fidelite serve MODEL")
        return int(told)

    def _json(self) -> dict[str, Any]:
        content: bytes = self.rfile.read(self._length(_MOST_JSON))
        try:
            found = json.loads(content or b"{}")
        except ValueError as error:
            raise UsageError(f"the request is no JSON: {error}", code="F292", remedy="send an object") from error
        if not isinstance(found, dict):
            raise UsageError("the request is no JSON object", code="F292", remedy="send an object")
        return found

    def _upload(self, query: Mapping[str, str]) -> Answer:
        """A dropped file, written piece by piece; gone again unless all of it came."""
        left = self._length(self._most_bytes)
        path = self._routes.shelf.place(query.get("name", ""), query.get("beside", ""))
        try:
            with path.open("wb") as file:
                while left:
                    piece = self.rfile.read(min(left, _PIECE))
                    if not piece:
                        raise LoadError("the file broke off while it was sent", code="F296", remedy="drop it again")
                    file.write(piece)
                    left -= len(piece)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise LoadError(f"'{path.name}' could not be stored: {error.strerror or error}", code="F296",
                            remedy="free some space, and drop it again") from error
        except LoadError:
            path.unlink(missing_ok=True)
            raise
        return self._routes.uploaded(path, query)

    # -- answers

    def _send_page(self, name: str) -> None:
        file = self._files.get(name)
        if file is None:
            self._send(Answer({"errors": []}, HTTPStatus.NOT_FOUND))
        else:
            self._send(Answer(file, cached="wasm" in name))

    def _send(self, answer: Answer) -> None:
        content = answer.content
        try:
            if isinstance(content, Path):
                with content.open("rb") as file:
                    self._head(answer, content.stat().st_size, _TYPES.get(content.suffix, "application/octet-stream"))
                    while self.command != "HEAD" and (piece := file.read(_PIECE)):
                        self.wfile.write(piece)
                return
            told = answer.type or "application/json"
            data = content if isinstance(content, bytes) else json.dumps(content).encode("utf-8")
            self._head(answer, len(data), told)
            if self.command != "HEAD":
                self.wfile.write(data)
        except (BrokenPipeError, ConnectionError, TimeoutError):
            self.close_connection = True

    def _head(self, answer: Answer, length: int, kind: str) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "max-age=3600" if answer.cached else "no-store")
        if answer.name:
            self.send_header("Content-Disposition", f'attachment; filename="{answer.name}"')
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()


def _status_of(error: FideliteError) -> HTTPStatus:
    special = {"F293": HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "F294": HTTPStatus.NOT_FOUND, "F295": HTTPStatus.FORBIDDEN}
    if error.code in special:
        return special[error.code]
    return HTTPStatus.INTERNAL_SERVER_ERROR if isinstance(error, InternalError) else HTTPStatus.UNPROCESSABLE_ENTITY
