"""What goes wrong between a store in InfluxDB and its server: nothing is lost, nothing is there twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from ingest.store import influx_connection
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.influx import InfluxStore
from ingest.store.influx_address import InfluxAddress
from ingest.store.influx_connection import InfluxConnection
from ingest.store.ports import StoreRejectedError, StoreUnavailableError
from ingest.store.records import ReadingRow
from tests.ingest.store.influx_front import HANG, LOSE_THE_ANSWER, Front, serving

pytestmark = pytest.mark.integration
T0 = 1_800_000_000_000


class Server(Protocol):
    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def set_up(self) -> None: ...


@pytest.fixture
def front(influx_address: InfluxAddress) -> Iterator[Front]:
    with serving(influx_address.url) as server:
        yield server


@pytest.fixture
def store(front: Front, influx_address: InfluxAddress) -> Iterator[InfluxStore]:
    opened = InfluxStore(msgspec.structs.replace(influx_address, url=front.url))
    yield opened
    opened.close()


def rows(count: int = 4, *, begin: int = 0) -> list[ReadingRow]:
    return [
        ReadingRow("p1", "fc-1", "ph", T0 + 1000 * n, 7.0 + n / 8, "normal", T0, "gw-a", "b1", n, 0)
        for n in range(begin, begin + count)
    ]


def write(store: InfluxStore, sent: list[ReadingRow]) -> int:
    return store.write(IngestBatch(readings=batch_of_rows(sent)), stored_at_ms=T0).stored


def assert_stored_and_told_once(store: InfluxStore, sent: list[ReadingRow]) -> None:
    (columns,) = store.readings("p1", from_ms=0, to_ms=2 * T0).values()
    assert columns.measured_at_ms.tolist() == [row.measured_at_ms for row in sent]
    assert columns.value.tolist() == [row.value for row in sent]
    assert sum(arrival.rows for arrival in store.arrivals_after(None)[0]) == len(sent)


@pytest.mark.parametrize(
    ("status", "headers", "retry_after_s"),
    [
        (503, {}, None),
        (429, {"Retry-After": "7"}, 7.0),
        (500, {}, None),
        (502, {"Retry-After": "soon"}, None),
    ],
)
@pytest.mark.parametrize("fails", [1, 2])
def test_a_server_that_is_overloaded_is_asked_again_by_the_caller(
    store: InfluxStore,
    front: Front,
    status: int,
    headers: dict[str, str],
    retry_after_s: float | None,
    fails: int,
) -> None:
    # The first of a batch's two writes is its rows, the second tells of them.
    passing: list[tuple[str, Any]] = [("write", None)] * (fails - 1)
    front.faults = [("query", None), *passing, ("write", (status, headers, b'{"message": "overloaded"}'))]
    with pytest.raises(StoreUnavailableError, match=f"{status}: .*overloaded") as caught:
        write(store, rows())
    assert caught.value.retry_after_s == retry_after_s
    assert front.faults == []
    assert write(store, rows()) == 4
    assert_stored_and_told_once(store, rows())


@pytest.mark.parametrize("lost", [1, 2])
def test_a_write_whose_answer_is_lost_is_there_once_after_the_next_attempt(
    store: InfluxStore, front: Front, influx_address: InfluxAddress, lost: int
) -> None:
    passing: list[tuple[str, Any]] = [("write", None)] * (lost - 1)
    front.faults = [("query", None), *passing, ("write", LOSE_THE_ANSWER)]
    with pytest.raises(StoreUnavailableError, match="Is it running"):
        write(store, rows())
    # After the loss the process may have ended too: another takes up the work.
    successor = InfluxStore(influx_address)
    write(successor, rows(5))
    assert_stored_and_told_once(successor, rows(5))
    successor.close()


def test_a_server_that_hangs_is_given_up(front: Front, influx_address: InfluxAddress) -> None:
    connection = InfluxConnection(msgspec.structs.replace(influx_address, url=front.url), answer_ms=200)
    front.faults = [("write", HANG)]
    with pytest.raises(StoreUnavailableError, match="ReadTimeout"):
        connection.write(influx_address.buckets.facts, b"m a=1 1", precision="ms")
    assert influx_connection.ANSWER_MS > 10_000, "a server gives up a write after 10 s itself"
    connection.close()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("cut", "cannot be reached|broke off"),
        ("cut quietly", "broke off"),
        ("fail late", "shard is gone"),
        ((200, {}, b"\r\nerror,reference\r\nout of memory,897\r\n\r\n"), "out of memory"),
    ],
)
def test_half_an_answer_is_never_taken_for_a_whole_one(
    store: InfluxStore, front: Front, fault: Any, told: str
) -> None:
    write(store, rows())
    front.faults = [("query", fault)]
    with pytest.raises(StoreUnavailableError, match=told):
        store.readings("p1", from_ms=0, to_ms=2 * T0)
    assert len(next(iter(store.readings("p1", from_ms=0, to_ms=2 * T0).values())).value) == 4


@pytest.mark.parametrize("status", [400, 413, 422])
def test_rows_that_are_refused_are_the_callers_to_divide(
    store: InfluxStore, front: Front, status: int
) -> None:
    front.faults = [("query", None), ("write", (status, {}, b'{"message": "partial write"}'))]
    with pytest.raises(StoreRejectedError, match=f"refused with {status}.*partial write"):
        write(store, rows())
    assert write(store, rows()[:2]) + write(store, rows()[2:]) == 4
    assert_stored_and_told_once(store, rows())


def test_only_the_reading_that_influxdb_refuses_is_refused(
    store: InfluxStore, influx_address: InfluxAddress
) -> None:
    connection = InfluxConnection(influx_address)
    # Another kind of field of the same name in the same shard: a type conflict for every float that follows.
    connection.write(influx_address.buckets.facts, b"reading,pool_id=other odd/ph=1i %d" % T0, precision="ms")
    connection.close()
    bad = rows()[1]._replace(sensor_id="odd", position=1)
    refused: list[ReadingRow] = []

    def write_all(part: list[ReadingRow]) -> int:
        try:
            return write(store, part)
        except StoreRejectedError as error:
            assert "type" in str(error)
            if len(part) == 1:
                refused.append(part[0])
                return 0
            return write_all(part[: len(part) // 2]) + write_all(part[len(part) // 2 :])

    good = rows(9)
    assert write_all([*good[:2], bad, *good[2:]]) == 9
    assert refused == [bad]
    assert_stored_and_told_once(store, good)


def test_kill_9_of_the_server_in_the_middle_of_writing(
    fresh_influxd: Server, make_buckets: Callable[[str], InfluxAddress]
) -> None:
    fresh_influxd.set_up()
    store = InfluxStore(make_buckets(fresh_influxd.url))
    batches = [rows(50, begin=50 * number) for number in range(60)]
    written = threading.Event()
    failures: Counter[str] = Counter()

    def write_all() -> None:
        for number, batch in enumerate(batches):
            while True:
                try:
                    write(store, batch)
                except StoreUnavailableError as error:
                    failures[type(error).__name__] += 1
                    time.sleep(0.02)
                else:
                    break
            if number in (15, 35):
                written.set()

    writer = threading.Thread(target=write_all)
    writer.start()
    for _ in range(2):
        assert written.wait(60)
        written.clear()
        fresh_influxd.kill()
        fresh_influxd.start()
    writer.join(60)
    assert not writer.is_alive()
    assert failures, "the server was never killed in the middle"
    assert_stored_and_told_once(store, [row for batch in batches for row in batch])
    store.close()


def test_a_store_that_cannot_be_reached_says_where(free_port: int, tmp_path: Path) -> None:
    store = InfluxStore(InfluxAddress(url=f"http://127.0.0.1:{free_port}", org="o", token="t"))
    with pytest.raises(
        StoreUnavailableError, match=f"127.0.0.1:{free_port} cannot be reached.*Is it running"
    ):
        write(store, rows())
    store.close()


def test_a_reading_older_than_the_retention_is_refused_and_the_others_are_stored(
    fresh_influxd: Server, make_buckets: Callable[..., InfluxAddress]
) -> None:
    fresh_influxd.set_up()
    store = InfluxStore(make_buckets(fresh_influxd.url, keep_s=10 * 365 * 86_400))
    ancient = rows()[0]._replace(measured_at_ms=0, value=6.5)
    with pytest.raises(StoreRejectedError, match="retention"):
        write(store, [*rows(), ancient])
    with pytest.raises(StoreRejectedError, match="retention"):
        write(store, [ancient])
    assert write(store, rows()) == 4
    assert_stored_and_told_once(store, rows())
    store.close()
