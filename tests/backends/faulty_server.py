"""A real socket that answers as an engine does, or as badly as it is told to."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


class Engine(Protocol):
    def answer(self, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Status and JSON; `body` is `None` for a GET."""
        ...


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int | None = None
    body: bytes = b'{"error": {"message": "told to fail"}}'
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0  # before anything is said
    cut: bool = False  # the connection ends in the middle of the right answer
    drip_s: float = 0.0  # between the bytes of the right answer


HANG_UP = Fault(status=0)  # the connection ends before anything is said


class FaultyServer:
    """Each request meets the first of `faults`, which is then gone; without any, all is well."""

    def __init__(self, engine: Engine, key: str | None = None) -> None:
        self.engine = engine
        self.key = key
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, dict[str, Any] | None]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked == path for asked, _ in self.asked)

    def start(self) -> None:
        """Listen, at the same port as before if there was one."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._serve(self, None)

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                outer._serve(self, json.loads(self.rfile.read(length)))

            def log_message(self, *_: object) -> None: ...

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None: ...  # a client that gave up

        self._http = Http(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()
        self._http = None

    def _serve(self, handler: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> None:
        self.asked.append((handler.path, body))
        self.headers.append(dict(handler.headers))
        fault = self.faults.pop(0) if self.faults else Fault()
        time.sleep(fault.delay_s)
        if self._http is None or fault is HANG_UP:  # stopped: a kept connection is no way in
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault.status is not None:
            status, said = fault.status, fault.body
        elif self.key and handler.headers["authorization"] != f"Bearer {self.key}":
            status, said = 401, json.dumps({"error": f"{self.key} was expected"}).encode()
        else:
            status, answer = self.engine.answer(handler.path, body)
            said = json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in {"content-length": str(len(said)), **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if fault.cut:
            handler.wfile.write(said[: len(said) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif fault.drip_s:
            for byte in said:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(fault.drip_s)
        else:
            handler.wfile.write(said)


@contextmanager
def serving(engine: Engine, key: str | None = None) -> Iterator[FaultyServer]:
    server = FaultyServer(engine, key)
    server.start()
    try:
        yield server
    finally:
        if server._http is not None:
            server.stop()
