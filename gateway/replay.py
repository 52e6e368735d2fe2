"""A recorded CSV file, published through a gateway's own outbox as if its sensors were measuring."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gateway.contract.credentials import Credential
from gateway.contract.readings import Reading
from gateway.contract.times import Clock, format_timestamp
from gateway.desk import drain
from gateway.outbox import Outbox
from gateway.publisher import Publisher
from gateway.recording import (
    ColumnMap,
    ReplayMap,
    ReplayResult,
    ZeroMeaning,
    read_recording,
    read_replay_map,
    survey_recording,
)
from gateway.service import GatewayService

__all__ = ["ColumnMap", "ReplayMap", "ReplayResult", "ZeroMeaning", "read_replay_map", "replay_file"]

#: Rows kept in one commit while going as fast as possible.
_ROWS_A_COMMIT = 50
#: Reading ahead stops while this share of the outbox is taken: nothing of a long recording is dropped for lack of room.
_FULL_ENOUGH = 0.5


def replay_file(
    path: Path,
    *,
    mapping: ReplayMap,
    credential: Credential,
    outbox_path: Path,
    speed: float,
    shift_to_now: bool,
    clock: Clock,
    stop: threading.Event,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    drain_s: float = 60.0,
) -> ReplayResult:
    """Publish a recording.

    Parameters
    ----------
    speed : float
        Recorded seconds per second; 0 goes as fast as possible.
    shift_to_now : bool
        Whether recorded times are moved so that the first row is measured now.
    on_progress : callable
        Gets rows done and rows in all.
    drain_s : float
        How long to wait in the end for receipts that do not come any more. [s]

    Raises
    ------
    InputError
        If file and map do not fit; nothing was published.
    OutboxError
        If the gateway's outbox cannot be used.
    """
    survey = survey_recording(path, mapping)
    result = ReplayResult()
    service = GatewayService(
        gateway_id=mapping.gateway_id,
        sensors=[],
        outbox=Outbox(outbox_path),
        publisher=Publisher(gateway_id=mapping.gateway_id, credential=credential),
        clock=clock,
    )
    rows = read_recording(path, mapping, result, interval_s=survey.interval_s)
    if shift_to_now:
        rows = _shifted(rows, clock)

    def tell() -> None:
        on_progress(result.rows, survey.rows)

    try:
        service.start_boot()
        if speed > 0:
            _replay_paced(service, mapping.pool_id, rows, speed=speed, stop=stop, tell=tell)
        else:
            _replay_fast(service, mapping.pool_id, rows, stop=stop, tell=tell)
        before: int | None = None
        while (pending := service.outbox.account().messages_pending) and pending != before:
            if stop.is_set():
                break
            before = pending
            drain(service, wait_s=drain_s, stop=stop)
        tell()
        result.pending = pending
    finally:
        service.close()
    return result


def _replay_fast(
    service: GatewayService,
    pool_id: str,
    rows: Iterator[tuple[int, list[Reading]]],
    *,
    stop: threading.Event,
    tell: Callable[[], None],
) -> None:
    """Keep many rows in one commit, and let them leave in the backlog's window."""
    batch: list[tuple[str, list[Reading]]] = []
    for _, readings in rows:
        if stop.is_set():
            break
        if readings:
            batch.append((pool_id, readings))
        if len(batch) >= _ROWS_A_COMMIT:
            service.keep_as_backlog(batch, service.clock())
            batch = []
            service.step(service.clock())
            tell()
            while service.outbox.fill > _FULL_ENOUGH and not stop.is_set():
                drain(service, wait_s=0.5, stop=stop)
    if batch:
        service.keep_as_backlog(batch, service.clock())


def _replay_paced(
    service: GatewayService,
    pool_id: str,
    rows: Iterator[tuple[int, list[Reading]]],
    *,
    speed: float,
    stop: threading.Event,
    tell: Callable[[], None],
) -> None:
    """Send each row when its time has come, as if it were measured then."""
    begun_ms = service.clock()
    first_ms: int | None = None
    for at_ms, readings in rows:
        first_ms = at_ms if first_ms is None else first_ms
        until_ms = begun_ms + int((at_ms - first_ms) / speed)
        while not stop.is_set() and (remaining_ms := until_ms - service.clock()) > 0:
            service.wake.wait(min(remaining_ms / 1000, service.step(service.clock())))
            service.wake.clear()
        if stop.is_set():
            break
        if readings:
            service.record(pool_id, readings, service.clock())
        service.step(service.clock())
        tell()


def _shifted(rows: Iterator[tuple[int, list[Reading]]], clock: Clock) -> Iterator[tuple[int, list[Reading]]]:
    """Rows moved by what moves the first of them to now."""
    shift_ms: int | None = None
    for at_ms, readings in rows:
        if shift_ms is None:
            shift_ms = clock() - at_ms
        moved = format_timestamp(at_ms + shift_ms)
        yield at_ms + shift_ms, [msgspec.structs.replace(reading, measured_at=moved) for reading in readings]
