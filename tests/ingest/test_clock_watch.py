"""Whether this machine's clock agrees with the store's."""

import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingest.clock_watch import ClockWatch
from ingest.store.clock import ask_clock, clock_address
from ingest.store.influx_address import InfluxAddress, render_address
from ingest.store.ports import StoreError, StoreUnavailableError

T0 = 1_782_892_800_000


class Server:
    """Says a time of its own with each answer."""

    def __init__(self) -> None:
        self.date: str | None = formatdate(T0 / 1000, usegmt=True)
        self.status = 204
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(server.status)
                if server.date is not None:
                    self.send_header("Date", server.date)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def store_url(server: Server, tmp_path: Path) -> str:
    path = tmp_path / "ingest.toml"
    path.write_text(render_address(InfluxAddress(server.url, "org", "token")), encoding="utf-8")
    return f"influx:{path}"


@pytest.mark.parametrize("ahead_ms", [-60_000, 0, 30_000])
def test_the_stores_time_lies_within_what_is_told(server: Server, ahead_ms: int) -> None:
    server.date = formatdate((T0 + ahead_ms) / 1000, usegmt=True)
    # The second was cut off, and nobody knows when between question and answer it was said.
    assert ask_clock(server.url, lambda: T0) == (ahead_ms, ahead_ms + 999)
    instants = iter([T0 - 200, T0 + 300])
    assert ask_clock(server.url, lambda: next(instants)) == (ahead_ms - 300, ahead_ms + 1199)


def test_a_refusal_says_the_time_too(server: Server) -> None:
    server.status = 503
    assert ask_clock(server.url, lambda: T0).least_ms == 0


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_an_answer_without_a_time_is_none(server: Server, date: str | None) -> None:
    server.date = date
    with pytest.raises(StoreUnavailableError, match="answers without its time"):
        ask_clock(server.url, lambda: T0)


def test_a_server_that_is_away_is_named(server: Server) -> None:
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:1/ping does not tell its time"):
        ask_clock("http://127.0.0.1:1/ping", lambda: T0)


def test_only_a_server_has_a_clock_of_its_own(store_url: str, server: Server) -> None:
    assert clock_address("sqlite:store.sqlite") is None
    assert clock_address(store_url) == f"{server.url}/ping"
    with pytest.raises(StoreError, match="cannot read"):
        clock_address("influx:absent.toml")


def test_clocks_that_differ_are_told_until_they_agree(
    store_url: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    now_ms = T0 + 500
    watch = ClockWatch(store_url, clock=lambda: now_ms)
    assert watch.not_ready() == []
    watch.look()
    assert watch.not_ready() == []
    assert watch.ahead_s == pytest.approx(0, abs=0.001)
    now_ms = T0 - 40_000
    watch.look()
    watch.look()
    (reason,) = watch.not_ready()
    assert "the store's clock is +40.5 s from this machine's" in reason
    assert watch.gauges()["store_clock_differs"][1]
    now_ms = T0 + 40_000
    watch.look()
    assert "the store's clock is -39.5 s" in watch.not_ready()[0]
    server.date = None
    watch.look()
    assert (watch.failures, watch.differs) == (1, True)
    server.date = formatdate(now_ms / 1000, usegmt=True)
    watch.look()
    assert watch.not_ready() == []
    said = capsys.readouterr().out
    assert said.count("this machine's clock and the store's differ") == 1
    assert said.count("agree again") == 1


def test_a_difference_within_what_is_not_known_is_none(store_url: str, server: Server) -> None:
    # Said at 10.0 s ahead, which may have been 10.999 s: at least 10 s is not more than 10 s.
    watch = ClockWatch(store_url, clock=lambda: T0 - 10_000)
    watch.look()
    assert not watch.differs


def test_a_store_in_a_file_has_nothing_to_compare() -> None:
    watch = ClockWatch("sqlite:store.sqlite", clock=lambda: T0)
    watch.look()
    assert (watch.gauges(), watch.not_ready(), watch.failures) == ({}, [], 0)
