"""The account of a journal: what came, by gateway, boot and day of receipt, and what became of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from ingest.journal.blocks import day_name
from ingest.journal.records import (
    AccountLine,
    BootSeqs,
    GatewayAccount,
    JournalAccount,
    Outcome,
    Tally,
)
from ingest.journal.sources import Count
from ingest.journal.state import LOGBOOK, READINGS, TallyKey
from ingest.journal.state_file import COUNT_COLUMNS
from ingest.journal.view import JournalView, open_view

_TALLIED = tuple(field.name for field in fields(Tally))
#: Holes that are listed of one boot; all are counted.
_HOLES_AT_MOST = 100


def read_account(folder: Path) -> JournalAccount:
    """Account of a journal at one instant, while its ingest may be running or was killed.

    Raises
    ------
    JournalError
        If there is no journal in the folder, or it is damaged.
    """
    with open_view(folder) as view:
        numbers = _numbers(view)
        ahead = _in_flight(view)
        for key in ahead:
            numbers.setdefault(key, [0] * len(Count))
        lines = tuple(
            AccountLine(
                gateway_id, boot_id, day_name(day), _tally(counted, ahead.get((day, gateway_id, boot_id)))
            )
            for (day, gateway_id, boot_id), counted in sorted(
                numbers.items(), key=lambda item: (item[0][1], item[0][2], item[0][0])
            )
        )
        boots = tuple(
            boot_seqs(gateway_id, boot_id, ranges) for (gateway_id, boot_id), ranges in _all_ranges(view)
        )
        gateways: dict[str, list[Tally]] = defaultdict(list)
        for line in lines:
            gateways[line.gateway_id].append(line.tally)
        number_of_boots: dict[str, int] = defaultdict(int)
        for one in boots:
            number_of_boots[one.gateway_id] += 1
        return JournalAccount(
            gateways=tuple(
                GatewayAccount(gateway_id, number_of_boots[gateway_id], add_tallies(tallies))
                for gateway_id, tallies in sorted(gateways.items())
            ),
            lines=lines,
            boots=boots,
            total=add_tallies(line.tally for line in lines),
            messages=view.state.head.message_id,
            cursor=view.marks.cursor,
        )


def read_seq_ranges(folder: Path) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Seqs that the journal holds of each (gateway, boot): sorted ranges, ends included.

    Several ingests that share a subscription each hold a part of a boot: unite their ranges before looking for holes.
    """
    with open_view(folder) as view:
        return dict(_all_ranges(view))


def add_tallies(tallies: Iterable[Tally]) -> Tally:
    """Sum of tallies."""
    total = [0] * len(_TALLIED)
    for tally in tallies:
        total = [had + getattr(tally, name) for had, name in zip(total, _TALLIED, strict=True)]
    return Tally(*total)


def boot_seqs(gateway_id: str, boot_id: str, ranges: list[tuple[int, int]]) -> BootSeqs:
    """What is missing between sorted ranges, from seq 0 on."""
    holes: list[tuple[int, int]] = []
    missing, next_seq = 0, 0
    for first, last in ranges:
        if first > next_seq:
            missing += first - next_seq
            if len(holes) < _HOLES_AT_MOST:
                holes.append((next_seq, first - 1))
        next_seq = last + 1
    return BootSeqs(gateway_id, boot_id, next_seq - 1, missing, tuple(holes))


def _all_ranges(view: JournalView) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    changed = {(source.gateway_id, source.boot_id): source for source in view.state.dirty if source.boot_id}
    found: dict[tuple[str, str], list[tuple[int, int]]] = {key: [] for key in changed}
    for gateway_id, boot_id, first, last in view.state_file.execute(
        "SELECT gateway_id, boot_id, first, last FROM seq_range ORDER BY gateway_id, boot_id, first"
    ):
        found.setdefault((gateway_id, boot_id), []).append((first, last))
    for key in sorted(found):
        ranges = changed[key].all_ranges() if key in changed else found[key]
        if ranges:
            yield key, ranges


def _numbers(view: JournalView) -> dict[TallyKey, list[int]]:
    numbers: dict[TallyKey, list[int]] = {
        (day, gateway_id, boot_id): counted
        for day, gateway_id, boot_id, *counted in view.state_file.execute(
            f"SELECT day, gateway_id, boot_id, {', '.join(COUNT_COLUMNS)} FROM tally"
        )
    }
    for key, more in view.state.finished.items():
        had = numbers.get(key, [0] * len(Count))
        numbers[key] = [left + right for left, right in zip(had, more, strict=True)]
    return numbers


def _in_flight(view: JournalView) -> dict[TallyKey, list[int]]:
    """Accepted messages, readings and entries after the cursor.

    Of days that the store has nothing of, the counts say it; only the cursor's own day is read.
    """
    cursor = view.marks.cursor
    ahead: dict[TallyKey, list[int]] = {}
    partial = view.days.day_holding(cursor + 1)
    if partial is None:
        return ahead
    for message_id, day, record in view.days.records_from(cursor + 1):
        if day != partial or message_id > view.state.head.message_id:
            break
        if record.outcome is not Outcome.ACCEPTED:
            continue
        numbers = ahead.setdefault((day, record.gateway_id, record.boot_id or ""), [0, 0, 0])
        good = record.items - record.refused_items
        numbers[0] += 1
        numbers[1] += good if record.kind == READINGS else 0
        numbers[2] += good if record.kind == LOGBOOK else 0
    for key, counted in _numbers(view).items():
        if key[0] > partial:
            ahead[key] = [
                counted[Count.MESSAGES]
                + counted[Count.STATUSES]
                - counted[Count.REFUSED_MESSAGES]
                - counted[Count.REFUSED_STATUSES],
                counted[Count.READINGS] - counted[Count.REFUSED_READINGS],
                counted[Count.ENTRIES] - counted[Count.REFUSED_ENTRIES],
            ]
    return ahead


def _tally(counted: list[int], ahead: list[int] | None) -> Tally:
    of = dict(zip(Count, counted, strict=True))
    in_flight = ahead or [0, 0, 0]
    return Tally(
        messages=of[Count.MESSAGES],
        readings=of[Count.READINGS] + of[Count.FREED_READINGS],
        entries=of[Count.ENTRIES] + of[Count.FREED_ENTRIES],
        statuses=of[Count.STATUSES],
        duplicate_messages=of[Count.DUPLICATE_MESSAGES],
        duplicate_readings=of[Count.DUPLICATE_READINGS],
        duplicate_entries=of[Count.DUPLICATE_ENTRIES],
        duplicate_statuses=of[Count.DUPLICATE_STATUSES],
        quarantined_messages=of[Count.REFUSED_MESSAGES] - of[Count.RELEASED_MESSAGES],
        quarantined_readings=of[Count.REFUSED_READINGS]
        + of[Count.LATE_READINGS]
        - of[Count.RELEASED_READINGS],
        quarantined_entries=of[Count.REFUSED_ENTRIES] + of[Count.LATE_ENTRIES] - of[Count.RELEASED_ENTRIES],
        quarantined_statuses=of[Count.REFUSED_STATUSES] - of[Count.RELEASED_STATUSES],
        cloned_messages=of[Count.CLONED_MESSAGES],
        released_messages=of[Count.RELEASED_MESSAGES] + of[Count.FREED_CLONES],
        released_readings=of[Count.RELEASED_READINGS] + of[Count.FREED_READINGS],
        released_entries=of[Count.RELEASED_ENTRIES] + of[Count.FREED_ENTRIES],
        store_duplicates=of[Count.STORE_DUPLICATES],
        in_flight_messages=in_flight[0],
        in_flight_readings=in_flight[1],
        in_flight_entries=in_flight[2],
    )
