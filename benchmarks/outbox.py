"""What a gateway's outbox takes on disk for 30 days, how fast it appends, and how fast it drains beside live readings.

Usage: python -m benchmarks.outbox [--days N] [--drain N] [--previous-drain N] [--folder DIR]

A pool of three quantities is read every 10 s; a message has three readings. The drain goes through a real Mosquitto to a
consumer in a process of its own, which gives a receipt a second, as ingest does. The previous way, plain rows with an
index and paho's own `publish`, is measured in the same run.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.outbox_consumer import START_MS, consume
from benchmarks.outbox_drain import drain, drain_previous, mosquitto
from benchmarks.outbox_messages import BOOT, READINGS, TOPIC, PlainRows, payloads
from gateway.outbox import Draft, Outbox
from gateway.service import Pace

_MESSAGES_A_DAY = 8640
_MB = 1e6
_COMMIT = 64


def bytes_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def bytes_written() -> int:
    """What this process has given to the disk so far. [byte]"""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


@dataclass(frozen=True, slots=True)
class Kept:
    """An outbox that was filled: its size at its highest and at rest, and what single appends cost."""

    highest_mb: float
    rest_mb: float
    plain_mb: float
    append_per_s: float
    written_per_append: float


def fill(folder: Path, count: int) -> Kept:
    """Append messages to a new outbox, and in the end 1,000 one by one."""
    outbox = Outbox(folder / "outbox.sqlite")
    outbox.begin_boot(BOOT, START_MS)
    highest = plain = 0
    drafts: list[Draft] = []

    def keep() -> None:
        nonlocal highest, plain
        plain += sum(len(message.payload) for message in outbox.append(drafts, START_MS))
        highest = max(highest, bytes_on_disk(folder))
        drafts.clear()

    singles = min(1000, count // 2)
    given = payloads(count)
    for _ in range(count - singles):
        drafts.append(Draft(TOPIC, next(given), READINGS))
        if len(drafts) == _COMMIT:
            keep()
    if drafts:
        keep()
    written, begun = bytes_written(), time.perf_counter()
    for encode in given:
        drafts.append(Draft(TOPIC, encode, READINGS))
        keep()
    took_s = time.perf_counter() - begun
    written = bytes_written() - written
    outbox.close()
    return Kept(highest / _MB, bytes_on_disk(folder) / _MB, plain / _MB, singles / took_s, written / singles)


def fill_plain(folder: Path, count: int) -> Kept:
    """As `fill`, the previous way."""
    rows = PlainRows(folder / "plain.sqlite")
    singles = min(1000, count // 2)
    given = payloads(count)
    highest = 0
    for first in range(0, count - singles, _COMMIT):
        rows.append(first, [next(given) for _ in range(min(_COMMIT, count - singles - first))])
        highest = max(highest, bytes_on_disk(folder))
    written, begun = bytes_written(), time.perf_counter()
    for seq, encode in enumerate(given, count - singles):
        rows.append(seq, [encode])
    took_s = time.perf_counter() - begun
    written = bytes_written() - written
    highest = max(highest, bytes_on_disk(folder))
    plain = rows.connection.execute("SELECT sum(length(payload)) FROM message").fetchone()[0]
    rows.connection.close()
    return Kept(highest / _MB, bytes_on_disk(folder) / _MB, plain / _MB, singles / took_s, written / singles)


def run(folder: Path, *, days: int, n_drain: int, n_previous: int) -> dict[str, float]:
    """Measure all of it and print the table."""
    folders = {name: folder / name for name in ("full", "plain", "drain", "previous", "wide")}
    for one in folders.values():
        one.mkdir(parents=True)
    count = days * _MESSAGES_A_DAY
    now, before = fill(folders["full"], count), fill_plain(folders["plain"], count)
    if n_drain:
        fill(folders["drain"], n_drain)
    with mosquitto(folder) as port:
        drained = drain(folders["drain" if n_drain else "full"], port)
    with mosquitto(folder) as port:
        slow = drain_previous(folders["previous"], port, n_previous, unacknowledged=200, unconfirmed=2000)
    pace = Pace()
    with mosquitto(folder) as port:
        wide = drain_previous(
            folders["wide"],
            port,
            n_previous,
            unacknowledged=pace.backlog_window,
            unconfirmed=pace.unconfirmed_window,
        )
    print(f"{count:,} messages of {READINGS} readings ({days} days), {now.plain_mb:.0f} MB of JSON")
    print(f"{'':34}{'now':>12}{'plain rows':>14}")
    for text, a, b in (
        ("on disk at its highest, MB", now.highest_mb, before.highest_mb),
        ("on disk at rest, MB", now.rest_mb, before.rest_mb),
        ("appends/s, one a commit", now.append_per_s, before.append_per_s),
        ("bytes written per append", now.written_per_append, before.written_per_append),
        ("drain, messages/s", drained.messages_per_s, slow.messages_per_s),
        ("drain, readings/s", drained.messages_per_s * READINGS, slow.messages_per_s * READINGS),
        ("µs of a core per message", *(1e6 * one.cores / one.messages_per_s for one in (drained, slow))),
    ):
        print(f"{text:34}{a:12,.1f}{b:14,.1f}")
    print(
        f"with the windows of now, plain rows and paho's publish drain {wide.messages_per_s:,.0f} messages/s on "
        f"{wide.cores:.2f} cores"
    )
    print(
        f"{drained.report.live:,} live messages meanwhile arrived after at most {drained.report.live_ms_most:.0f} ms "
        f"(half of them within {drained.report.live_ms_half:.0f} ms); {drained.report.repeated:,} came twice"
    )
    return {
        "outbox_highest_mb": round(now.highest_mb, 1),
        "outbox_rest_mb": round(now.rest_mb, 1),
        "plain_highest_mb": round(before.highest_mb, 1),
        "append_per_s": round(now.append_per_s),
        "bytes_written_per_append": round(now.written_per_append),
        "plain_bytes_written_per_append": round(before.written_per_append),
        "drain_readings_per_s": round(drained.messages_per_s * READINGS),
        "plain_drain_readings_per_s": round(slow.messages_per_s * READINGS),
        "drain_cpu_us_per_message": round(1e6 * drained.cores / drained.messages_per_s, 1),
        "plain_wide_cpu_us_per_message": round(1e6 * wide.cores / wide.messages_per_s, 1),
        "plain_wide_drain_readings_per_s": round(wide.messages_per_s * READINGS),
        "live_delay_most_ms": round(drained.report.live_ms_most),
        "repeated": drained.report.repeated,
    }


def main() -> None:
    """Print the table, and as the last line the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--drain", type=int, default=0, help="drain so many messages; 0: those of all days")
    parser.add_argument("--previous-drain", type=int, default=40_000)
    parser.add_argument("--folder", type=Path, help="measure on the disk of this folder")
    parser.add_argument("--consume", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.consume:
        consume(given.consume)
        return
    with tempfile.TemporaryDirectory(prefix="poolwatch-bench-", dir=given.folder) as temporary:
        figures = run(Path(temporary), days=given.days, n_drain=given.drain, n_previous=given.previous_drain)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
