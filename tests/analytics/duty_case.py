"""Facts of one pool, laid out by hand or drawn, and what its duties make of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from analytics.duties.judging import DutyOutcome, judge_duties
from analytics.duties.posting import Displays, ReceiptColumns
from analytics.entries import read_entries
from analytics.results import DutyStanding, Verdict
from analytics.series import all_online_series, sample_series
from analytics.spans import FAR_MS, Spans, merged
from analytics.standards.profile import Duty, Profile, load_profile, rules_for
from analytics.window import Window, between, split_samples
from gateway.contract.opening import open_intervals
from gateway.contract.quantities import Quantity
from gateway.contract.registry import OpeningHours, Pool, PoolKind, Sensor, Venue
from gateway.contract.times import format_timestamp
from ingest.store.records import (
    LogbookRow,
    PublicationColumns,
    PublicationRow,
    PublishedValue,
    ReadingColumns,
    SeriesKey,
    StatusCode,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FC, PH, TEMP = "free_chlorine_mg_l", "ph", "water_temp_c"
GOOD = {FC: 0.6, PH: 7.4, TEMP: 27.0}
PROBES = {"fc-1": FC, "ph-1": PH, "t-1": TEMP}


def at(text: str, zone: str = "Asia/Shanghai") -> int:
    """Milliseconds of a wall time like 2026-07-01 08:00 in a zone."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@dataclass
class DutyCase:
    """`opening` overrides what the `hours` say. A window that looks back no further holds only what it must."""

    hours: str = "Mo-Su 06:00-22:00"
    zone: str = "Asia/Shanghai"
    kind: PoolKind = PoolKind.INDOOR
    from_ms: int | None = None
    probes: Sequence[str] = ("fc-1", "ph-1", "t-1")
    probe_until_ms: int | None = None
    profile: Profile = field(default_factory=lambda: load_profile("changzhou-2022"))
    opening: Sequence[tuple[int, int]] | None = None
    readings: dict[SeriesKey, list[tuple[int, int, int]]] = field(default_factory=dict)
    published: list[PublicationRow] = field(default_factory=list)
    entries: list[LogbookRow] = field(default_factory=list)
    receipts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def reading(
        self, sensor_id: str, measured_ms: int, *, stored_ms: int | None = None, status: int = 0
    ) -> "DutyCase":
        rows = self.readings.setdefault(SeriesKey(sensor_id, PROBES[sensor_id]), [])
        rows.append((measured_ms, measured_ms if stored_ms is None else stored_ms, status))
        return self

    def test(self, measured_ms: int, *quantities: str, stored_ms: int | None = None) -> "DutyCase":
        for quantity in quantities or (FC, PH, TEMP):
            rows = self.readings.setdefault(SeriesKey("manual", quantity), [])
            rows.append((measured_ms, measured_ms if stored_ms is None else stored_ms, StatusCode.MANUAL))
        return self

    def publish(
        self, published_ms: int, measured_ms: int, *, content: str = "", value: float | None = 0.6
    ) -> "DutyCase":
        found = PublishedValue(FC, "fc-1", measured_ms, value, "normal")
        row = PublicationRow(
            "pool", published_ms, content or f"hash-{published_ms}", "web-1", "in_standard", (found,)
        )
        self.published.append(row)
        return self

    def show(self, displayed_ms: int, content: str, *, display: str = "hall") -> "DutyCase":
        self.receipts.setdefault(display, []).append((displayed_ms, content))
        return self

    def enter(self, kind: str, at_ms: int, *, by: str = "Li", **more: object) -> "DutyCase":
        body = msgspec.json.encode({"kind": kind, "at": format_timestamp(at_ms), "by": by, **more})
        self.entries.append(
            LogbookRow("pool", kind, at_ms, at_ms, "desk", "boot", len(self.entries), 0, body)
        )
        return self

    def post(self, at_ms: int, measured_ms: int, *quantities: str, by: str = "Li") -> "DutyCase":
        return self.enter(
            "notice_board",
            at_ms,
            by=by,
            measured_at=format_timestamp(measured_ms),
            quantities=list(quantities or (FC, PH, TEMP)),
        )

    def correct(self, at_ms: int, refers_to: str) -> "DutyCase":
        return self.enter("correction", at_ms, refers_to=refers_to)

    def window(self, now_ms: int, *, look_from_ms: int | None = None) -> Window:
        columns = {key: _columns(rows) for key, rows in self.readings.items()}
        first_ms = min((int(part.measured_at_ms[0]) for part in columns.values()), default=None)
        times = [row.published_at_ms for row in self.published] + [
            at_ms for rows in self.receipts.values() for at_ms, _ in rows
        ]
        known = [now_ms, *times, *([] if first_ms is None else [first_ms])]
        known += [] if self.from_ms is None else [self.from_ms]
        complete = look_from_ms is None
        look_from_ms = min(known) - 2 * DAY if look_from_ms is None else look_from_ms
        rules = rules_for(self.profile, self.kind)
        online, samples = split_samples(columns)
        online = {key: _from(part, look_from_ms - rules.online_age_ms(FC)) for key, part in online.items()}
        samples = {key: _from(part, look_from_ms - rules.longest_age_ms) for key, part in samples.items()}
        pool = Pool(
            "pool",
            "venue",
            "池",
            "Pool",
            self.kind,
            None,
            (OpeningHours(self.hours),),
            self.zone,
            self.profile.name,
            tuple(
                Sensor(probe, Quantity(PROBES[probe]), "return", 60.0, until_ms=self.probe_until_ms)
                for probe in self.probes
            ),
            self.from_ms,
        )
        opening_to_ms = now_ms + 8 * DAY
        opening = self.opening
        if opening is None:
            opening = open_intervals(pool, from_ms=look_from_ms - 3 * DAY, to_ms=opening_to_ms)
        return Window(
            pool=pool,
            venue=Venue("venue", "馆", "Venue", "wujin"),
            profile=self.profile,
            opening=merged(list(opening)),
            online=online,
            samples=samples,
            publications=_published(
                [
                    row
                    for row in self.published
                    if row.published_at_ms >= look_from_ms - rules.online_age_ms(FC)
                ]
            ),
            entries=read_entries(self.entries),
            opening_to_ms=opening_to_ms,
            judged_from_ms=look_from_ms,
            look_from_ms=look_from_ms,
            known_from_ms=look_from_ms - rules.online_age_ms(FC),
            complete=complete,
            first_reading_ms=first_ms,
        )

    def displays(self) -> Displays:
        by_hash: dict[str, list[PublicationRow]] = {}
        for row in self.published:
            by_hash.setdefault(row.content_hash, []).append(row)
        return Displays(
            {
                display: ReceiptColumns(
                    np.array([row[0] for row in sorted(rows)], dtype=np.int64),
                    np.array([row[1] for row in sorted(rows)], dtype=np.str_),
                )
                for display, rows in self.receipts.items()
            },
            by_hash,
        )

    def outcomes(self, now_ms: int, *, look_from_ms: int | None = None) -> list[DutyOutcome]:
        window = self.window(now_ms, look_from_ms=look_from_ms)
        online = all_online_series(window, now_ms=now_ms)
        samples = [
            found
            for key, part in window.samples.items()
            for found in sample_series(window, key, part, now_ms=now_ms)
        ]
        return judge_duties(window, online, samples, now_ms=now_ms, displays=self.displays())

    def outcome(
        self, duty: str, now_ms: int, quantity: str = FC, *, look_from_ms: int | None = None
    ) -> DutyOutcome:
        (found,) = [
            found
            for found in self.outcomes(now_ms, look_from_ms=look_from_ms)
            if (found.standing.duty, found.standing.quantity) == (duty, quantity)
        ]
        return found

    def lapses(self, duty: str, now_ms: int, quantity: str = FC) -> list[tuple[int, int | None]]:
        return [(found.start_ms, found.end_ms) for found in self.verdicts(duty, now_ms, quantity)]

    def verdicts(self, duty: str, now_ms: int, quantity: str = FC) -> list[Verdict]:
        return self.outcome(duty, now_ms, quantity).findings

    def standing(self, duty: str, now_ms: int, quantity: str = FC) -> DutyStanding:
        return self.outcome(duty, now_ms, quantity).standing.standing


def profile_of(duty: str, **changes: object) -> Profile:
    """The shipped profile with one duty only, of chlorine, changed."""
    shipped = load_profile("changzhou-2022")
    found: Duty = next(row for row in shipped.duties if row.duty == duty)
    return replace(shipped, duties=(replace(found, **changes),))  # type: ignore[arg-type] # the caller's keywords


def _from(part: ReadingColumns, from_ms: int) -> ReadingColumns:
    return between(part, from_ms=from_ms, to_ms=FAR_MS)


def _columns(unsorted: list[tuple[int, int, int]]) -> ReadingColumns:
    rows = sorted(unsorted)
    return ReadingColumns(
        measured_at_ms=np.array([row[0] for row in rows], dtype=np.int64),
        value=np.full(len(rows), 0.6),
        status=np.array([row[2] for row in rows], dtype=np.uint8),
        received_at_ms=np.array([row[1] for row in rows], dtype=np.int64),
        stored_at_ms=np.array([row[1] for row in rows], dtype=np.int64),
    )


def _published(rows: Sequence[PublicationRow]) -> dict[SeriesKey, PublicationColumns]:
    if not rows:
        return {}
    ordered = sorted(rows, key=lambda row: row.published_at_ms)
    times = np.array([row.published_at_ms for row in ordered], dtype=np.int64)
    values = [row.values[0] for row in ordered]
    return {
        SeriesKey("fc-1", FC): PublicationColumns(
            published_at_ms=times,
            measured_at_ms=np.array([value.measured_at_ms for value in values], dtype=np.int64),
            value=np.array([np.nan if value.value is None else value.value for value in values]),
            status=np.zeros(len(values), dtype=np.uint8),
            stored_at_ms=times,
        )
    }


def spans_of(cells: set[int]) -> list[list[int]]:
    """Maximal runs of cells, half-open."""
    starts = sorted(cell for cell in cells if cell - 1 not in cells)
    ends = sorted(cell + 1 for cell in cells if cell + 1 not in cells)
    return [list(pair) for pair in zip(starts, ends, strict=True)]


def cells_of(spans: Spans, *, cell_ms: int, to_ms: int) -> set[int]:
    """Cells of spans, of which every edge before `to_ms` is a whole cell."""
    return {
        cell
        for start, end in np.minimum(spans, to_ms).tolist()
        for cell in range(start // cell_ms, end // cell_ms)
    }
