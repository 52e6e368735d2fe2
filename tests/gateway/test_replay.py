"""A recording through outbox and broker: everything arrives once, at its pace, and nothing is lost without a broker."""

import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.contract.readings import Reading
from gateway.errors import InputError
from gateway.outbox import Outbox, read_account
from gateway.replay import ReplayResult, read_replay_map, replay_file

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.gateway.conftest import IngestPlayer

    PlayIngest = Callable[[bool], IngestPlayer]

pytestmark = pytest.mark.integration

MAP = """
pool_id = "p1"
gateway_id = "g1"
time_column = "t"
time_format = "%Y-%m-%dT%H:%M:%S"
time_zone = "UTC"
[[columns]]
column = "ph"
sensor_id = "ph-1"
quantity = "ph"
"""


def clock() -> int:
    return time.time_ns() // 1_000_000


def write_recording(folder: Path, rows: int, *, step_s: int) -> Path:
    lines = ["t,ph"]
    for index in range(rows):
        hours, rest = divmod(index * step_s, 3600)
        lines.append(f"2026-07-01T{hours:02d}:{rest // 60:02d}:{rest % 60:02d},{7 + index / 10_000}")
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def replay(
    broker: "MosquittoBroker",
    folder: Path,
    recording: Path,
    *,
    speed: float = 0,
    shift_to_now: bool = False,
    stop: threading.Event | None = None,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    drain_s: float = 20.0,
) -> ReplayResult:
    (folder / "map.toml").write_text(MAP)
    return replay_file(
        recording,
        mapping=read_replay_map(folder / "map.toml"),
        credential=broker.credential("g1"),
        outbox_path=folder / "outbox.sqlite",
        speed=speed,
        shift_to_now=shift_to_now,
        clock=clock,
        stop=stop or threading.Event(),
        on_progress=on_progress,
        drain_s=drain_s,
    )


def readings_of(ingest: "IngestPlayer") -> dict[str, float | None]:
    ingest.order()
    return {
        item.measured_at: item.value
        for envelope in ingest.envelopes
        for item in envelope.items
        if isinstance(item, Reading)
    }


def test_as_fast_as_possible_everything_arrives(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    ingest = play_ingest(True)
    seen: list[tuple[int, int | None]] = []
    recording = write_recording(tmp_path, 1234, step_s=60)
    result = replay(broker, tmp_path, recording, on_progress=lambda done, total: seen.append((done, total)))
    assert (result.rows, result.readings, result.pending, result.problem_count) == (1234, 1234, 0, 0)
    found = readings_of(ingest)
    assert len(found) == 1234
    assert found["2026-07-01T00:00:00.000Z"] == 7.0
    assert found["2026-07-01T01:00:00.000Z"] == 7.006
    assert seen[-1] == (1234, 1234)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_pace_of_the_recording_is_kept_and_times_move_to_now(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    ingest = play_ingest(True)
    begun_ms, begun_s = clock(), time.monotonic()
    recording = write_recording(tmp_path, 5, step_s=60)
    result = replay(broker, tmp_path, recording, speed=240, shift_to_now=True)
    assert time.monotonic() - begun_s >= 4 * 60 / 240
    assert result.pending == 0
    ingest.order()
    at_ms = sorted(
        item.measured_at_ms for e in ingest.envelopes for item in e.items if isinstance(item, Reading)
    )
    assert begun_ms <= at_ms[0] <= clock()
    assert [later - earlier for earlier, later in pairwise(at_ms)] == [60_000] * 4


def test_without_a_broker_it_is_kept_and_goes_with_the_next_replay(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    broker.stop()
    recording = write_recording(tmp_path, 120, step_s=60)
    assert replay(broker, tmp_path, recording, drain_s=0.2).pending == 120
    broker.start()
    ingest = play_ingest(True)
    assert replay(broker, tmp_path, write_recording(tmp_path, 1, step_s=1)).pending == 0
    assert len(readings_of(ingest)) == 120
    assert read_account(tmp_path / "outbox.sqlite").messages_sent == 121


def test_a_long_recording_never_overflows_the_outbox(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest", monkeypatch: pytest.MonkeyPatch
) -> None:
    # About 200 bytes a message as a row: room for some 350 of the 2,000.
    monkeypatch.setattr("gateway.replay.Outbox", partial(Outbox, max_bytes=100_000))
    ingest = play_ingest(True)
    result = replay(broker, tmp_path, write_recording(tmp_path, 2000, step_s=1))
    assert result.pending == 0
    assert len(readings_of(ingest)) == 2000
    assert read_account(tmp_path / "outbox.sqlite").readings_dropped == 0


def test_it_stops_when_told_to(broker: "MosquittoBroker", tmp_path: Path) -> None:
    stop = threading.Event()
    recording = write_recording(tmp_path, 1000, step_s=3600)
    result = replay(
        broker,
        tmp_path,
        recording,
        speed=1,
        stop=stop,
        on_progress=lambda done, _total: stop.set() if done else None,
    )
    assert result.rows <= 2


def test_a_file_that_does_not_fit_its_map_publishes_nothing(
    broker: "MosquittoBroker", tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("t,chlorine\n2026-07-01T00:00:00,7\n")
    with pytest.raises(InputError, match="no column 'ph'"):
        replay(broker, tmp_path, path)
    assert not (tmp_path / "outbox.sqlite").exists()
