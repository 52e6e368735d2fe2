"""Posting in the venue (DESIGN 12.4, 12.6): by a screen, as its receipts prove, or by hand, as the logbook says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from analytics.duties.facts import FactPart
from analytics.entries import Correction, Posting
from analytics.spans import FAR_MS, Instants, Spans, cut, merged
from analytics.standards.profile import Duty, KindRules, ServedBy
from gateway.contract.local_time import first_ms, time_zone, wall_time
from ingest.store.records import STATUS_CODES, PublicationRow, PublishedValue, SeriesKey, StatusCode

#: How long a receipt proves that the screen showed it. DESIGN 12.6
RECEIPT_COVER_MS = 150_000
SCREEN = "screen"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ReceiptColumns:
    """Receipts of one display, sorted by `displayed_at_ms`; arrays of shape (n,).

    `content_hash` names the snapshot that was on the screen.
    """

    displayed_at_ms: Instants
    content_hash: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Displays:
    """What the screens of a pool showed.

    Attributes
    ----------
    receipts : mapping
        By display, from two days before lapses are looked for.
    published : mapping
        By hash, the publications of every snapshot that a receipt or a correction names; of all replicas. A hash that
        is not known proves nothing yet.
    """

    receipts: Mapping[str, ReceiptColumns] = field(default_factory=dict)
    published: Mapping[str, Sequence[PublicationRow]] = field(default_factory=dict)


NO_DISPLAYS = Displays()
BadTimes = Mapping[SeriesKey, frozenset[int]]


def screen_parts(
    displays: Displays,
    *,
    quantity: str,
    rules: KindRules,
    bad_times: BadTimes,
    corrections: Sequence[Correction],
    age_ms: int,
) -> tuple[list[FactPart], Instants]:
    """What receipts serve, and the instants at which a screen was there to show a quantity, whether it did or not.

    A receipt covers at most 150 s, and not beyond the deadline of the number itself: past it the screen has taken the
    number away. Of several good values of a snapshot the one in force longest counts.
    """
    parts, seen = [], []
    for display_id, columns in displays.receipts.items():
        hashes, which = np.unique(columns.content_hash, return_inverse=True)
        measured = np.full(len(hashes), -FAR_MS, dtype=np.int64)
        ends = np.full(len(hashes), -FAR_MS, dtype=np.int64)
        named = np.zeros(len(hashes), dtype=np.bool_)
        for index, content_hash in enumerate(hashes.tolist()):
            rows = displays.published.get(content_hash, ())
            values = [value for value in rows[0].values if value.quantity == quantity] if rows else []
            named[index] = bool(values)
            corrected = [found.at_ms for found in corrections if found.refers_to == content_hash]
            for value in values:
                if _is_result(value, bad_times):
                    own = [value.measured_at_ms + age_ms, *corrected, *_ends(value, rules, corrections)]
                    if min(own) > ends[index]:
                        measured[index], ends[index] = value.measured_at_ms, min(own)
        shows = ends[which] > -FAR_MS
        at_ms = columns.displayed_at_ms
        parts.append(
            FactPart(
                SCREEN,
                display_id,
                at_ms[shows],
                measured[which][shows],
                reach_ms=age_ms,
                at_most_ms=np.minimum(ends[which][shows], at_ms[shows] + RECEIPT_COVER_MS),
            )
        )
        seen.append(at_ms[named[which]])
    return parts, np.concatenate([np.empty(0, dtype=np.int64), *seen])


def _is_result(value: PublishedValue, bad_times: BadTimes) -> bool:
    key = SeriesKey(value.sensor_id, value.quantity)
    return (
        value.value is not None
        and STATUS_CODES[value.status] <= StatusCode.LABORATORY
        and value.measured_at_ms not in bad_times.get(key, frozenset())
    )


def _ends(value: PublishedValue, rules: KindRules, corrections: Sequence[Correction]) -> list[int]:
    """The number's own deadline, and when it was corrected."""
    online = STATUS_CODES[value.status] == StatusCode.NORMAL
    age_of = rules.online_age_ms if online else rules.test_age_ms
    age = age_of(value.quantity, value.measured_at_ms)
    key = SeriesKey(value.sensor_id, value.quantity)
    return [value.measured_at_ms + age] + [
        found.at_ms
        for found in corrections
        if found.key == key and found.measured_at_ms == value.measured_at_ms
    ]


def board_parts(postings: Sequence[Posting], *, duty: Duty, quantity: str) -> list[FactPart]:
    """What was posted by hand, by who entered it."""
    if ServedBy.NOTICE_BOARD not in duty.served_by:
        return []
    posted = [posting for posting in postings if quantity in posting.quantities]
    parts = []
    for by in sorted({posting.by for posting in posted}):
        own = [posting for posting in posted if posting.by == by]
        parts.append(
            FactPart(
                ServedBy.NOTICE_BOARD,
                by,
                np.array([posting.at_ms for posting in own], dtype=np.int64),
                np.array([posting.measured_at_ms for posting in own], dtype=np.int64),
            )
        )
    return parts


def posting_days(opening: Spans, *, zone_name: str, to_ms: int) -> Spans:
    """Sessions for which there has to be evidence: opening intervals, longer ones than a day cut at local midnight.

    Of a pool that never closes a single posting would otherwise make every later silence a lapse.
    """
    if not ((opening[:, 1] - opening[:, 0]) > _DAY_MS).any():
        return opening
    zone = time_zone(zone_name)
    pieces = []
    for start, end in opening.tolist():
        edge = start
        while end - start > _DAY_MS and edge < min(end, to_ms):
            tomorrow = wall_time(edge, zone) + timedelta(days=1)
            midnight = first_ms(tomorrow.replace(hour=0, minute=0, second=0, microsecond=0), zone)
            pieces.append((edge, min(midnight, end)))
            edge = min(midnight, end)
        if edge < end:
            pieces.append((edge, end))
    return np.array(pieces, dtype=np.int64).reshape(-1, 2)


def evidenced(days: Spans, cover: Spans, seen_ms: Instants) -> Spans:
    """The part of each session after its first evidence, merged.

    Before it, and in a session without any, posting is unverified and no lapse. Evidence is what covers, shape
    (n, 2), and a screen seen at `seen_ms`, shape (m,), whatever it showed.
    """
    known = merged(np.concatenate((cover, np.column_stack((seen_ms, seen_ms + 1)))))
    if not len(known) or not len(days):
        return cut(days, known)
    index = np.searchsorted(known[:, 1], days[:, 0], side="right")
    first = np.append(known[:, 0], FAR_MS)[index]
    return merged(np.column_stack((np.maximum(first, days[:, 0]), days[:, 1])))
