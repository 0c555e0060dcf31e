"""A package index on a socket of this machine: it breaks off, stalls, or changes what it sends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class PackageIndex:
    """Serves the wheels of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent = 0  # wheels that were asked for
        self.breaks_off = 0  # so many of the next wheels end after half of their bytes
        self.changes = 0  # so many of the next wheels come with another last byte
        self.stalls = False  # sends half of a wheel, and then nothing
        self.half_sent = threading.Event()
        self.closing = threading.Event()
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[str]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rstrip("/").rsplit("/", 1)[-1]
                if name.endswith(".whl"):
                    index._send_wheel(self, index.folder / name)
                else:
                    prefix = name.replace("-", "_")
                    links = "".join(
                        f'<a href="/files/{path.name}">{path.name}</a>'
                        for path in index.folder.glob(f"{prefix}-*.whl")
                    )
                    index._send(self, f"<!DOCTYPE html><body>{links}</body>".encode(), "text/html")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()

    def _send_wheel(self, handler: BaseHTTPRequestHandler, path: Path) -> None:
        content = path.read_bytes()
        self.sent += 1
        if self.changes:
            self.changes -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        half = None
        if self.breaks_off:
            self.breaks_off -= 1
            half = len(content) // 2
        if self.stalls:
            half = len(content) // 2
        self._send(handler, content, "application/octet-stream", half)

    def _send(
        self, handler: BaseHTTPRequestHandler, content: bytes, kind: str, half: int | None = None
    ) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:half])
        handler.wfile.flush()
        if half is not None:
            self.half_sent.set()
            if self.stalls:
                self.closing.wait(60)
            handler.close_connection = True
