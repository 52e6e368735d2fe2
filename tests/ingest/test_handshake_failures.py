"""A broker whose TLS handshake fails again and again costs no file descriptor, at gateway and ingest."""

import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.contract.credentials import Credential
from gateway.contract.tls import shake_hands
from gateway.publisher import Backoff, Publisher
from ingest.subscriber_link import MQTT_5, Link, Session

_FAILURES = 50
#: What else a process may have opened meanwhile: a selector, a pair of sockets to wake a thread, a connection under way.
_OTHERS = 8
WaitUntil = Callable[..., None]


class Refuser:
    """Takes connections and answers a TLS hello with something else."""

    def __init__(self) -> None:
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(5)
                    connection.sendall(b"this is no TLS, whatever you say")
                    self.count += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def refuser() -> Iterator[Refuser]:
    made = Refuser()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """Nothing is closed by the garbage collection: ingest lets it run seldom."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _credential(port: int) -> Credential:
    return Credential("gw-a", "secret", "127.0.0.1", port, tls=True)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_ingest_closes_what_a_failed_handshake_leaves(refuser: Refuser) -> None:
    before = _open_files()
    session = Session("poolwatch-ingest", ("pools/#",), 60)
    kept = []  # as somebody may keep the errors: their tracebacks know the sockets
    for number in range(_FAILURES):
        link = Link(
            _credential(refuser.port),
            session,
            MQTT_5,
            clock=lambda: 0,
            number=number,
            on_accept=lambda _client: None,
        )
        with pytest.raises(ssl.SSLError) as caught:
            link.open()
        link.abandon()
        kept.append(caught)
    assert len(kept) == _FAILURES
    assert _open_files() <= before + _OTHERS


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_a_gateway_closes_what_a_failed_handshake_leaves(refuser: Refuser, wait_until: WaitUntil) -> None:
    before = _open_files()
    publisher = Publisher(
        gateway_id="gw-a", credential=_credential(refuser.port), backoff=Backoff(first_s=0.001, most_s=0.001)
    )
    publisher.start(last_will=b"{}", wake=lambda: None)
    try:
        wait_until(lambda: refuser.count > _FAILURES)
        assert _open_files() <= before + _OTHERS
    finally:
        publisher.close(last_status=None)


def test_a_socket_that_cannot_be_wrapped_is_closed() -> None:
    with socket.socket() as unconnected:
        with pytest.raises((OSError, ValueError)):
            shake_hands(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), unconnected, host="", within_s=1.0)
        assert unconnected.fileno() == -1
