"""What follows from the journal's messages, kept beside them: seqs, counts, quarantine, digests. Pure.

`State.fold` is the one rule: the writer applies it to what it appends, a process that opens the journal to the messages
after the last checkpoint, and a reader to the same, so all three know the same at the same length of the journal.
"""

from typing import NamedTuple, Protocol

from gateway.contract.topics import TopicKind
from ingest.journal.blocks import Block, Head, Record, content_digest, decode_body
from ingest.journal.excerpts import WHOLE, excerpt_of
from ingest.journal.records import JournalMessage, Outcome
from ingest.journal.sources import Count, Source
from ingest.journal.unwritten import StatusRow, Unwritten
from ingest.validation import Refusal

READINGS = TopicKind.READINGS.value
LOGBOOK = TopicKind.LOGBOOK.value
STATUS = TopicKind.STATUS.value
TallyKey = tuple[int, str, str]


class QuarantineRow(NamedTuple):
    """A refusal on its way into the state file; `late` is 1 if the store found it."""

    message_id: int
    position: int
    late: int
    code: str
    text: str
    excerpt: str
    gateway_id: str
    topic: str
    received_at_ms: int
    kind: str
    items: int


class Settled(Protocol):
    """What the last checkpoint has; asked for what is not in memory."""

    def source(self, gateway_id: str, boot_id: str) -> Source:
        """One (gateway, boot) as of the checkpoint."""
        ...

    def has_digest(self, digest: bytes) -> bool:
        """Whether a message of that content has come."""
        ...

    def status_digest(self, gateway_id: str) -> bytes | None:
        """Content of a gateway's last status."""
        ...


def item_counts(kind: str, readings: Count, entries: Count) -> Count | None:
    """The column that items of a kind are counted in; None if it has none."""
    if kind == READINGS:
        return readings
    return entries if kind == LOGBOOK else None


class State:
    """Memory over a checkpoint: everything since it, and what of it was asked for."""

    def __init__(self, settled: Settled, *, head: Head, day: int) -> None:
        self._settled = settled
        self.head = head
        self.day = day
        self.sources: dict[tuple[str, str], Source] = {}
        self.dirty: set[Source] = set()
        self.finished: dict[TallyKey, list[int]] = {}
        self.quarantine: list[QuarantineRow] = []
        self.digests: dict[bytes, int] = {}
        self.statuses: dict[str, bytes] = {}
        self.new_statuses: set[str] = set()
        #: Number of the checkpoint that collects what happens now.
        self.epoch = 1
        #: The checkpoint that was begun and that the state file does not have yet.
        self.unwritten: Unwritten | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something that the state file does not have."""
        return bool(self.dirty or self.finished or self.unwritten is not None)

    def touch(self, source: Source) -> None:
        """Note that a source is about to change: what a checkpoint under way has to have of it is collected now."""
        if source.epoch != self.epoch:
            if self.unwritten is not None:
                self.unwritten.collect(source)
            source.epoch = self.epoch
            self.dirty.add(source)

    def source(self, gateway_id: str, boot_id: str) -> Source:
        """One (gateway, boot), loaded if it is not in memory."""
        key = (gateway_id, boot_id)
        found = self.sources.get(key)
        if found is None:
            found = self.sources[key] = self._settled.source(gateway_id, boot_id)
        return found

    def has_digest(self, digest: bytes) -> bool:
        """Whether a message that no key finds has come with this content."""
        if digest in self.digests or (self.unwritten is not None and digest in self.unwritten.digests):
            return True
        return self._settled.has_digest(digest)

    def status_digest(self, gateway_id: str) -> bytes | None:
        """Content of a gateway's last status."""
        found = self.statuses.get(gateway_id)
        if found is None:
            found = self._settled.status_digest(gateway_id)
            if found is not None:
                self.statuses[gateway_id] = found
        return found

    def turn_to(self, day: int) -> None:
        """Count what follows for a later day."""
        if day == self.day:
            return
        for source in self.dirty:
            if any(source.tally):
                self.add(self.day, source.gateway_id, source.boot_id, source.tally)
                source.tally = [0] * len(Count)
        self.day = day

    def add(self, day: int, gateway_id: str, boot_id: str, numbers: list[int]) -> None:
        """Add to the counts of a day that is not the current one."""
        key = (day, gateway_id, boot_id)
        had = self.finished.get(key)
        self.finished[key] = (
            list(numbers) if had is None else [left + right for left, right in zip(had, numbers, strict=True)]
        )

    def fold(self, message_id: int, record: Record) -> None:
        """Take one message of the current day; messages come in the journal's order."""
        source = self.source(record.gateway_id, record.boot_id or "")
        self.touch(source)
        tally = source.tally
        if record.refusals:
            self.quarantine += quarantine_rows(message_id, record, record.refusals)
        if record.outcome is Outcome.CLONED:
            # Its items were never owed: the key stands for the first message's.
            tally[Count.CLONED_MESSAGES] += 1
            self.digests[content_digest(record.topic, record.payload)] = message_id
            return
        is_refused = record.outcome is Outcome.REFUSED
        if record.is_keyed and record.seq is not None:
            source.take(record.seq)
        elif is_refused:
            self.digests[content_digest(record.topic, record.payload)] = message_id
        count_message(tally, record.kind, record.items)
        if record.kind == STATUS:
            self.statuses[record.gateway_id] = content_digest("", record.payload)
            self.new_statuses.add(record.gateway_id)
        if is_refused:
            count_message(tally, record.kind, record.items, first=Count.REFUSED_MESSAGES)
        elif record.refusals:
            column = item_counts(record.kind, Count.REFUSED_READINGS, Count.REFUSED_ENTRIES)
            if column is not None:
                tally[column] += record.refused_items

    def begin_checkpoint(self, *, days_differ: bool) -> tuple[Unwritten, bool]:
        """All that the state file does not have, as of now, and True; or what was begun before and is not written.

        One after the other: the file's counts are added to.
        """
        if self.unwritten is not None:
            return self.unwritten, False
        self.unwritten = Unwritten(
            head=self.head,
            day=self.day,
            days_differ=days_differ,
            sources=self.dirty,
            finished=self.finished,
            quarantine=self.quarantine,
            digests=self.digests,
            statuses=[StatusRow(gateway_id, self.statuses[gateway_id]) for gateway_id in self.new_statuses],
            epoch=self.epoch,
        )
        self.epoch += 1
        self.dirty, self.finished, self.quarantine, self.digests = set(), {}, [], {}
        self.new_statuses = set()
        return self.unwritten, True

    def settled(self, unwritten: Unwritten, *, keep_sources: int, keep_ranges: int) -> None:
        """Note that the state file has a checkpoint; forgets what was not used for long, above `keep_sources`."""
        if self.unwritten is not unwritten:
            return
        self.unwritten = None
        for source in unwritten.long:
            if source.epoch <= unwritten.epoch:
                source.trim(keep=keep_ranges)
        excess = len(self.sources) - keep_sources
        if excess > 0:
            idle = [source for source in self.sources.values() if source.epoch < self.epoch]
            idle.sort(key=lambda source: source.epoch)
            for source in idle[:excess]:
                del self.sources[source.gateway_id, source.boot_id]
        excess = len(self.statuses) - keep_sources
        if excess > 0:
            known = [one for one in self.statuses if one not in self.new_statuses]
            for gateway_id in known[:excess]:
                del self.statuses[gateway_id]


def fold_block(state: State, block: Block) -> list[Record]:
    """Fold the messages of the block that follows the state's head; gives them."""
    records = decode_body(block.body)
    for index, record in enumerate(records):
        state.fold(block.first_id + index, record)
    state.head = block.head
    return records


def count_message(tally: list[int], kind: str, items: int, *, first: Count = Count.MESSAGES) -> None:
    """Count a message and its items in the four columns from `first` on."""
    if kind == STATUS:
        tally[first + Count.STATUSES] += 1
        return
    tally[first] += 1
    if kind == READINGS:
        tally[first + Count.READINGS] += items
    elif kind == LOGBOOK:
        tally[first + Count.ENTRIES] += items


def quarantine_rows(
    message_id: int, record: Record, refusals: tuple[Refusal, ...], *, late: bool = False
) -> list[QuarantineRow]:
    """Rows of refusals of one message."""
    return [
        QuarantineRow(
            message_id,
            WHOLE if refusal.position is None else refusal.position,
            int(late),
            refusal.code,
            refusal.text,
            excerpt_of(record.payload, refusal.position),
            record.gateway_id,
            record.topic,
            record.received_at_ms,
            record.kind,
            record.items,
        )
        for refusal in refusals
    ]


def late_row(message: JournalMessage, position: int, *, code: str, text: str) -> QuarantineRow:
    """Row of an item that the store refused."""
    return QuarantineRow(
        message.message_id,
        position,
        1,
        code,
        text,
        excerpt_of(message.payload, position),
        message.gateway_id,
        message.topic,
        message.received_at_ms,
        message.kind,
        message.items,
    )
