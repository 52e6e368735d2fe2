"""The account: what was sent, received, stored, judged and published, gateway by gateway, and whether anything is missing.

Messages: sent = received + still at the gateway + missing.
Readings: received = stored + duplicate + quarantined + in flight.
What a gateway dropped stands apart, and so do readings of cloned messages, which count as received once somebody releases
them. `holes` says in words what is missing; an account without holes is closed.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.contract.codec import decode_status
from gateway.contract.errors import MessageError
from gateway.contract.times import format_timestamp
from gateway.outbox_records import OutboxAccount
from ingest.journal.account import add_tallies, read_account, read_seq_ranges
from ingest.journal.quarantine import count_cloned_readings
from ingest.journal.records import Tally
from ingest.seq_balance import BootBalance, GatewayClaims, balance_boots
from ingest.store.ports import Store
from ingest.store.records import GatewayStatusRow, ReadingRow
from ingest.store_audit import Audit, audit_journal

_RANGES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """One gateway: its messages by boot, its readings by what became of them.

    `kept_here` counts the messages in its outbox, where that is on this machine: it knows more than the last status said.
    """

    gateway_id: str
    boots: tuple[BootBalance, ...]
    tally: Tally
    dropped_readings: int
    kept_here: int = 0
    cloned_readings: int = 0

    @property
    def stored(self) -> int:
        """Readings that the store took from it."""
        tally = self.tally
        return tally.readings - tally.store_duplicates - tally.quarantined_readings - tally.in_flight_readings

    @property
    def kept(self) -> int:
        """Messages that are still at the gateway."""
        return sum(boot.kept for boot in self.boots) + min(self._absent, self.kept_here)

    @property
    def missing(self) -> int:
        """Messages that were sent and are nowhere."""
        return max(0, self._absent - self.kept_here)

    @property
    def unexplained(self) -> int:
        """Messages that are missing and that the gateway did not say it dropped: holes."""
        # A dropped message carried at least one reading: so many of the missing ones are accounted for.
        return max(0, self.missing - self.dropped_readings)

    @property
    def _absent(self) -> int:
        return sum(boot.missing_messages for boot in self.boots)


@dataclass(frozen=True, slots=True)
class Account:
    """All gateways, and what became of their readings."""

    lines: tuple[GatewayLine, ...]
    audit: Audit
    stored: int
    judged: int
    published: int
    publications: int
    verdicts: dict[str, int]
    holes: tuple[str, ...] = field(default=())


def take_account(
    journals: Sequence[Path],
    store: Store,
    *,
    day: str | None = None,
    outboxes: Mapping[str, OutboxAccount] | None = None,
) -> Account:
    """Add up journals and store, of all time or of one UTC day of receipt (`2026-11-24`), while they run or afterwards.

    Parameters
    ----------
    journals : sequence of Path
        Folders of all ingests' journals.
    store : Store
        The one that they fill.
    day : str, optional
        Only what was received on that day.
    outboxes : mapping of gateway id to OutboxAccount, optional
        Those that are on this machine.

    Raises
    ------
    JournalError
        If a folder holds no journal, or it is damaged.
    StoreError
        If the store does not answer.
    """
    outboxes = outboxes or {}
    counts = store.counts()
    waiting = store.readings_waiting()
    audit = Audit()
    for folder in journals:
        audit_journal(folder, store, audit, day=day)
    note_newest(store.gateway_statuses(), audit.claims)
    for gateway_id, outbox in outboxes.items():
        if outbox.messages_sent or gateway_id in audit.claims:
            next_seqs = audit.claims.setdefault(gateway_id, GatewayClaims()).next_seqs
            for boot_id, next_seq in outbox.boots.items():
                next_seqs[boot_id] = max(next_seq, next_seqs.get(boot_id, 0))
    lines = balance_gateways(journals, audit.claims, day=day, outboxes=outboxes)
    return Account(
        lines=tuple(lines),
        audit=audit,
        stored=counts.readings,
        judged=max(0, counts.readings - waiting),
        published=counts.published_readings,
        publications=counts.publications,
        verdicts=counts.verdicts,
        holes=(*(hole for line in lines for hole in _holes(line)), *_audit_holes(audit)),
    )


def balance_gateways(
    journals: Sequence[Path],
    claims: Mapping[str, GatewayClaims],
    *,
    day: str | None = None,
    outboxes: Mapping[str, OutboxAccount] | None = None,
) -> list[GatewayLine]:
    """One line for each gateway, from what journals hold and gateways said; the store is not asked.

    Raises
    ------
    JournalError
        If a folder holds no journal, or it is damaged.
    """
    tallies: dict[str, list[Tally]] = defaultdict(list)
    received: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    active: dict[str, set[str]] = defaultdict(set)
    for folder in journals:
        for line in read_account(folder).lines:
            if line.gateway_id and day in (None, line.day):
                tallies[line.gateway_id].append(line.tally)
                active[line.gateway_id].add(line.boot_id)
        for (gateway_id, boot_id), ranges in read_seq_ranges(folder).items():
            received[gateway_id][boot_id] += ranges
    cloned = _cloned_readings(journals, day)
    lines = []
    for gateway_id in sorted(tallies.keys() | (claims.keys() if day is None else set())):
        said = claims.get(gateway_id)
        boots = balance_boots(received=received[gateway_id], claims=said)
        if day is not None:
            boots = [boot for boot in boots if boot.boot_id in active[gateway_id]]
        here = None if outboxes is None else outboxes.get(gateway_id)
        dropped = 0 if said is None else said.dropped_readings
        lines.append(
            GatewayLine(
                gateway_id,
                tuple(boots),
                add_tallies(tallies[gateway_id]),
                dropped if here is None else max(dropped, here.readings_dropped),
                0 if here is None else here.messages_pending + here.messages_dead,
                cloned[gateway_id],
            )
        )
    return lines


def _cloned_readings(journals: Sequence[Path], day: str | None) -> Counter[str]:
    """Readings of cloned messages by gateway."""
    counts: Counter[str] = Counter()
    for folder in journals:
        for (gateway_id, received_on), readings in count_cloned_readings(folder).items():
            if day in (None, received_on):
                counts[gateway_id] += readings
    return counts


def note_newest(statuses: Mapping[str, GatewayStatusRow], claims_of: dict[str, GatewayClaims]) -> None:
    """Note a gateway's newest status: it may have been taken by another ingest, or lie outside the day."""
    for gateway_id, row in statuses.items():
        claims = claims_of.setdefault(gateway_id, GatewayClaims())
        if row.received_at_ms <= claims.said_at_ms:
            continue
        try:
            claims.note(decode_status(row.body), row.received_at_ms)
        except MessageError:
            continue  # it was decodable when it was taken; the journal has it


def _holes(line: GatewayLine) -> list[str]:
    if not line.unexplained:
        return []
    ranges = [
        f"boot {boot.boot_id} seq {first}" + ("" if first == last else f"-{last}")
        for boot in line.boots
        for first, last in boot.missing
    ]
    shown = ", ".join(ranges[:_RANGES_SHOWN]) + (", …" if len(ranges) > _RANGES_SHOWN else "")
    return [f"{line.gateway_id}: {line.unexplained} messages were sent and never came: {shown}"]


def _audit_holes(audit: Audit) -> list[str]:
    holes = []
    for count, rows, what in (
        (audit.missing_count, audit.missing, "left the journal and are not in the store"),
        (audit.different_count, audit.different, "stand in the store with another value or status"),
    ):
        if count:
            holes.append(f"{count} readings {what}: {', '.join(_name(row) for row in rows[:_RANGES_SHOWN])}")
    if audit.undecodable:
        holes.append(f"{audit.undecodable} accepted messages cannot be decoded by this version")
    return holes


def _name(row: ReadingRow) -> str:
    at = format_timestamp(row.measured_at_ms)
    return f"{row.pool_id}/{row.sensor_id}/{row.quantity} at {at} ({row.gateway_id} {row.boot_id} {row.seq})"


def print_account(console: Console, account: Account) -> None:
    """Print the account as two tables, and in one sentence whether it is closed."""
    messages = Table(
        title="Messages: sent = received + at the gateway + missing",
        title_justify="left",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    readings = Table(
        title="Readings: received = stored + duplicate + quarantined + in flight",
        title_justify="left",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for table, numbers in ((messages, _messages), (readings, _readings)):
        rows = [numbers(line) for line in account.lines]
        totals = Counter[str]()
        for row in rows:
            totals.update(row)
        # Clones are rare, and eighty columns few.
        shown = [name for name in (rows[0] if rows else ()) if name != "cloned" or totals[name]]
        table.add_column("gateway", no_wrap=True)
        for name in shown:
            table.add_column(name, justify="right")
        for line, row in zip(account.lines, rows, strict=True):
            table.add_row(line.gateway_id, *(str(row[name]) for name in shown))
        table.add_section()
        if rows:
            table.add_row("all", *(str(totals[name]) for name in shown))
        console.print(table)
    verdicts = (
        ", ".join(f"{count} {kind}s" for kind, count in sorted(account.verdicts.items())) or "no verdict"
    )
    console.print(
        f"{account.audit.found} of {account.audit.checked} readings found in the store one by one; "
        f"judged {account.judged} of {account.stored} stored; {verdicts}; "
        f"{account.publications} publications of {account.published} readings",
        highlight=False,
        soft_wrap=True,
    )
    if account.holes:
        for hole in account.holes:
            console.print(f"[bold red]missing[/]  {hole}", highlight=False, soft_wrap=True)
    else:
        console.print("[green]the account is closed: nothing is missing[/]")


def _messages(line: GatewayLine) -> dict[str, int]:
    return {
        "sent": sum(boot.sent for boot in line.boots),
        "received": sum(boot.received for boot in line.boots),
        "at gateway": line.kept,
        "missing": line.missing,
        "came again": line.tally.duplicate_messages,
    }


def _readings(line: GatewayLine) -> dict[str, int]:
    tally = line.tally
    return {
        "received": tally.readings,
        "stored": line.stored,
        "duplicate": tally.store_duplicates,
        "quarantined": tally.quarantined_readings,
        "in flight": tally.in_flight_readings,
        "cloned": line.cloned_readings,
        "dropped": line.dropped_readings,
    }
