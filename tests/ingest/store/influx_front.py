"""A front before a real InfluxDB that passes on what comes, but for the faults that a test orders."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

LOSE_THE_ANSWER = "lose the answer"
HANG = "hang"
#: A status with headers and a body, or the name of a fault; None: pass it on.
Fault = Any


class Refused(NamedTuple):
    """A request that was not passed on, or whose answer was not: when, and its body."""

    at_s: float
    body: bytes


class Front(ThreadingHTTPServer):
    """Stands before a real server. `faults`: (last word of the path, fault), each for one request, in this order.

    `on_write` says for any other write, by its body, which fault it meets.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = url.removeprefix("http://")
        self.faults: list[tuple[str, Fault]] = []
        self.on_write: Callable[[bytes], Fault] = lambda _body: None
        self.met: list[Refused] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.release = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some of the tests are about."""

    def fault_of(self, path: str, body: bytes) -> Fault:
        """The fault that a request meets, None for none."""
        if self.faults and self.faults[0][0] == path:
            return self.faults.pop(0)[1]
        fault = self.on_write(body) if path == "write" else None
        if fault is not None:
            self.met.append(Refused(time.monotonic(), body))
        return fault

    def behave(self) -> None:
        """Pass everything on from now on, and let go what hangs."""
        self.on_write = lambda _body: None
        self.release.set()


@contextmanager
def serving(url: str) -> Iterator[Front]:
    """A front before the server at `url`."""
    server = Front(url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0].rpartition("/")[2]
        fault = self.server.fault_of(path, body)
        if fault == HANG:
            self.server.release.wait(120)
            self.close_connection = True
            return
        if isinstance(fault, tuple):
            self._answer(*fault)
            return
        behind = http.client.HTTPConnection(self.server.behind)
        try:
            behind.request("POST", self.path, body, {name: self.headers[name] for name in self.headers})
            answer = behind.getresponse()
            content = answer.read()
        finally:
            behind.close()
        if fault == LOSE_THE_ANSWER:
            self.close_connection = True
            return
        if fault == "cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s" % (len(content), content[: len(content) // 2]))
            self.close_connection = True
            return
        if fault == "cut quietly":
            content = content[: len(content) - 5]
        if fault == "fail late":
            content += b"error,reference\r\nengine: shard is gone,897\r\n\r\n"
        self._answer(answer.status, {}, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
