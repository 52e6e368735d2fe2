"""The account: what was sent, stored, judged and published, gateway by gateway, and whether anything is missing.

sent = stored + duplicate + quarantined + in flight, and what an outbox dropped or gave up stands apart.
"""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from gateway.errors import OutboxError
from gateway.outbox import OutboxAccount, read_account
from ingest.journal import read_account as read_journal_account
from ingest.journal_records import GatewayAccount
from ingest.store.ports import Store
from poolwatch.folder import DataFolder


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """Readings of one gateway. `sent` is None for hardware whose outbox is not on this machine."""

    gateway_id: str
    sent: int | None
    stored: int
    quarantined: int
    in_flight: int
    given_up: int
    messages: int
    journalled_messages: int
    repeated_messages: int
    pending_messages: int


@dataclass(frozen=True, slots=True)
class Account:
    """All gateways, and what became of their readings. `holes` says in words what is missing; empty if nothing is."""

    lines: list[GatewayLine]
    stored: int
    duplicates: int
    judged: int
    published: int
    publications: int
    verdicts: dict[str, int]
    holes: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: all that was sent is stored, and all that is stored is judged."""
        return self.judged >= self.stored and all(
            line.in_flight == 0 and not line.pending_messages for line in self.lines
        )


def take_account(folder: DataFolder, store: Store) -> Account:
    """Add up outboxes, journal and store of a data folder, while it runs or afterwards."""
    # In the order of the data's way backwards: what moves on meanwhile is counted as under way, never as missing.
    counts = store.counts()
    judged = store.judged_readings()
    journal = read_journal_account(folder.journal)
    outboxes = _outboxes(folder)
    by_gateway = {one.gateway_id: one for one in journal.gateways}
    lines = []
    holes = []
    for gateway_id in sorted(by_gateway.keys() | outboxes.keys()):
        if not gateway_id:
            continue  # topics outside the contract: only in quarantine
        stored = counts.readings_by_gateway.get(gateway_id, 0)
        line, hole = _line(gateway_id, by_gateway.get(gateway_id), outboxes.get(gateway_id), stored)
        lines.append(line)
        holes += hole
    journalled = sum(
        one.readings - one.quarantined_readings - one.in_flight_readings for one in journal.gateways
    )
    missing = journalled - counts.readings - journal.store_duplicates
    if missing > 0:
        holes.append(f"{missing} readings left the journal and are not in the store")
    return Account(
        lines=lines,
        stored=counts.readings,
        duplicates=journal.store_duplicates,
        judged=judged,
        published=counts.published_readings,
        publications=counts.publications,
        verdicts=counts.verdicts,
        holes=holes,
    )


def _outboxes(folder: DataFolder) -> dict[str, OutboxAccount]:
    found = {}
    if folder.gateways.is_dir():
        for place in sorted(folder.gateways.iterdir()):
            try:
                found[place.name] = read_account(folder.outbox(place.name))
            except OutboxError:
                continue  # a folder without an outbox has sent nothing
    return found


def _line(
    gateway_id: str, journal: GatewayAccount | None, outbox: OutboxAccount | None, stored: int
) -> tuple[GatewayLine, list[str]]:
    holes = []
    journalled_messages = journal.messages if journal else 0
    journalled_readings = journal.readings if journal else 0
    waiting = 0
    if outbox is not None:
        given_up = outbox.messages_dropped + outbox.messages_dead
        waiting = max(
            0, outbox.readings_sent - journalled_readings - outbox.readings_dropped - outbox.readings_dead
        )
        lost = outbox.messages_sent - journalled_messages - outbox.messages_pending - given_up
        if lost > 0:
            holes.append(
                f"{gateway_id}: {lost} messages were sent, are no longer in the outbox and not in the journal"
            )
    in_journal = journal.in_flight_readings if journal else 0
    return (
        GatewayLine(
            gateway_id=gateway_id,
            sent=None if outbox is None else outbox.readings_sent,
            stored=stored,
            quarantined=journal.quarantined_readings if journal else 0,
            in_flight=waiting + in_journal,
            given_up=0 if outbox is None else outbox.readings_dropped + outbox.readings_dead,
            messages=outbox.messages_sent if outbox is not None else journalled_messages,
            journalled_messages=journalled_messages,
            repeated_messages=journal.duplicate_messages if journal else 0,
            pending_messages=0 if outbox is None else outbox.messages_pending,
        ),
        holes,
    )


def print_account(console: Console, account: Account) -> None:
    """Print the account as a table, and in one sentence whether it is whole."""
    table = Table(title="Account, in readings", title_justify="left")
    table.add_column("gateway", no_wrap=True)
    for name in ("sent", "stored", "quarantined", "in flight", "given up", "messages", "came again"):
        table.add_column(name, justify="right")
    for line in account.lines:
        table.add_row(
            line.gateway_id,
            "?" if line.sent is None else str(line.sent),
            str(line.stored),
            str(line.quarantined),
            str(line.in_flight),
            str(line.given_up),
            str(line.messages),
            str(line.repeated_messages),
        )
    table.add_section()
    table.add_row(
        "all",
        str(sum(line.sent or 0 for line in account.lines)),
        str(account.stored),
        str(sum(line.quarantined for line in account.lines)),
        str(sum(line.in_flight for line in account.lines)),
        str(sum(line.given_up for line in account.lines)),
        str(sum(line.messages for line in account.lines)),
        str(sum(line.repeated_messages for line in account.lines)),
    )
    console.print(table)
    verdicts = (
        ", ".join(f"{count} {kind}s" for kind, count in sorted(account.verdicts.items())) or "no verdict"
    )
    console.print(
        f"judged {account.judged} of {account.stored} stored readings ({account.duplicates} had come before): {verdicts}; "
        f"published {account.published} readings in {account.publications} publications",
        highlight=False,
        soft_wrap=True,
    )
    if account.holes:
        for hole in account.holes:
            console.print(f"[bold red]MISSING[/]  {hole}", highlight=False, soft_wrap=True)
    else:
        console.print("[bold green]nothing is missing[/]")
