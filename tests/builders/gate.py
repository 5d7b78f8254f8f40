"""A small HTTP proxy before a server, that lets only those pass who show a password and a header."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def gate(server: str, user: str, password: str, header: tuple[str, str]) -> Iterator[str]:
    """Yield host:port of a gate before the server at the URL `server`.

    Whoever does not show user and password is answered 401, who lacks the header 403.
    """
    accepted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    behind = urlsplit(server).netloc

    class Gate(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != accepted:
                self.answer(401, b"who are you?")
            elif self.headers.get(header[0]) != header[1]:
                self.answer(403, b"this header is not the one")
            else:
                connection = http.client.HTTPConnection(behind)
                connection.request(self.command, self.path, body, dict(self.headers) | {"Host": behind})
                said = connection.getresponse()
                self.answer(said.status, said.read(), said.getheader("Content-Type") or "text/plain")
                connection.close()

        def answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
