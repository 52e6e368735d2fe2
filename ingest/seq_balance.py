"""What of a gateway's messages is in the journal, still at the gateway, or missing: from seqs alone. Pure.

Seqs count the messages of a boot from 0 without holes, so what is absent below the highest seq that anybody named was sent
and is not here. Ranges have their ends included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.contract.status import GatewayStatus
from ingest.receipt_book import merge_ranges

Range = tuple[int, int]


@dataclass(slots=True)
class GatewayClaims:
    """What a gateway said of itself, status by status, the newest last.

    `next_seqs`: the highest next seq that it ever named for a boot. `kept`: what its outbox held by the newest status.
    `dropped_readings`: how many it ever gave up, by its newest status.
    """

    next_seqs: dict[str, int] = field(default_factory=dict)
    kept: dict[str, list[Range]] = field(default_factory=dict)
    dropped_readings: int = 0
    is_online: bool = False
    said_at_ms: int = 0

    def note(self, status: GatewayStatus, received_at_ms: int) -> None:
        """Take the next status in. One that a broker kept and said later must not be noted after a newer one."""
        ends = [(status.boot_id, status.next_seq)]
        kept: dict[str, list[Range]] = {}
        for boot_id, first, following in status.outbox:
            ends.append((boot_id, following))
            if following > first:
                kept.setdefault(boot_id, []).append((first, following - 1))
        for boot_id, following in ends:
            self.next_seqs[boot_id] = max(following, self.next_seqs.get(boot_id, 0))
        self.kept = kept
        self.dropped_readings = sum(span.readings for span in status.dropped)
        self.is_online = status.state.value == "online"
        self.said_at_ms = received_at_ms


@dataclass(frozen=True, slots=True)
class BootBalance:
    """Messages of one boot: `sent` = `received` + `kept` + those of `missing`."""

    boot_id: str
    sent: int
    received: int
    kept: int
    missing: tuple[Range, ...]

    @property
    def missing_messages(self) -> int:
        """How many are missing."""
        return count(self.missing)


def count(ranges: Iterable[Range]) -> int:
    """How many numbers disjoint ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """What of sorted disjoint ranges is in none of `taken`, sorted and disjoint too."""
    left: list[Range] = []
    place = 0
    for first, last in ranges:
        begin = first
        while place < len(taken) and taken[place][1] < begin:
            place += 1
        at = place
        while at < len(taken) and taken[at][0] <= last:
            if taken[at][0] > begin:
                left.append((begin, taken[at][0] - 1))
            begin = max(begin, taken[at][1] + 1)
            at += 1
        if begin <= last:
            left.append((begin, last))
    return left


def balance_boots(
    *, received: Mapping[str, Sequence[Range]], claims: GatewayClaims | None
) -> list[BootBalance]:
    """Balance of each boot that the journal or the gateway knows, by boot id.

    A seq that the gateway still keeps and the journal has already (a receipt on its way) counts as received.
    """
    claims = claims or GatewayClaims()
    balances = []
    for boot_id in sorted(received.keys() | claims.next_seqs.keys() | claims.kept.keys()):
        here = merge_ranges(received.get(boot_id, ()))
        there = merge_ranges(claims.kept.get(boot_id, ()))
        ends = [claims.next_seqs.get(boot_id, 0), *(last + 1 for _, last in (*here[-1:], *there[-1:]))]
        sent = max(ends)
        absent = without([(0, sent - 1)] if sent else [], here)
        missing = without(absent, there)
        balances.append(
            BootBalance(
                boot_id=boot_id,
                sent=sent,
                received=count(here),
                kept=count(absent) - count(missing),
                missing=tuple(missing),
            )
        )
    return balances
