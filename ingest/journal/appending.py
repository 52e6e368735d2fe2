"""Which messages of a batch are new: compared with the state and, where a seq came before, byte by byte."""

from collections.abc import Sequence

from gateway.contract.topics import TopicKind
from ingest.incoming import Incoming
from ingest.journal.blocks import UNKNOWN_KIND, Record, content_digest
from ingest.journal.days import Days
from ingest.journal.recent import Recent
from ingest.journal.records import Appended, Outcome
from ingest.journal.sources import Count, Source
from ingest.journal.state import State, count_message
from ingest.validation import Assessment, Refusal

#: Fields of a `Record`, trailing defaults left out.
Fields = tuple[object, ...]
_READINGS = TopicKind.READINGS


class Batch:
    """The messages of one commit. The state has them when `take` returns: if the commit fails, load it anew."""

    def __init__(self, state: State, recent: Recent, days: Days) -> None:
        self._state = state
        self._recent = recent
        self._days = days
        self._first_id = state.head.message_id + 1
        self._places: dict[tuple[int, int], int] = {}
        self._known = 0
        self.results: list[Appended] = []
        self.bodies: list[Fields | Record] = []
        self.sources: list[int] = []
        self.seqs: list[int] = []
        self.ids: list[int] = []
        self.came_again: list[tuple[Source, str, int]] = []

    def take(self, messages: Sequence[Incoming], assessments: Sequence[Assessment]) -> None:
        """Decide about messages, in their order."""
        state, sources, slow = self._state, self._state.sources, self._take_one
        epoch = state.epoch
        results, bodies, next_id = self.results, self.bodies, self._first_id
        numbers, seqs, ids = self.sources, self.seqs, self.ids
        for message, found in zip(messages, assessments, strict=True):
            source = sources.get((found.gateway_id, found.boot_id))  # type: ignore[arg-type]
            seq = found.seq
            if (
                source is None
                or found.refusals
                or found.kind is not _READINGS
                or seq is None
                or source.last_range[1] >= seq
            ):
                slow(message, found)
                continue
            # A good message above all before it, as nearly all are: `State.fold`, written out.
            if source.epoch != epoch:
                state.touch(source)
            newest = source.last_range
            if newest[1] + 1 == seq:
                newest[1] = seq
            else:
                source.take(seq)
            tally = source.tally
            tally[0] += 1
            tally[1] += found.items
            numbers.append(source.number)
            seqs.append(seq)
            ids.append(next_id + len(bodies))
            bodies.append(
                (
                    message.topic,
                    message.payload,
                    message.received_at_ms,
                    "readings",
                    found.gateway_id,
                    found.boot_id,
                    seq,
                    found.items,
                )
            )
            results.append(Appended.NEW)

    def _take_one(self, message: Incoming, found: Assessment) -> None:
        result = Appended.REFUSED if found.is_refused else Appended.NEW
        source = self._state.source(found.gateway_id, found.boot_id or "")
        is_keyed = found.boot_id is not None and found.seq is not None
        if found.boot_id is not None and found.seq is not None:
            if source.holds(found.seq):
                result = self._compare(message, source, found.seq)
        elif found.is_refused:
            if self._state.has_digest(content_digest(message.topic, message.payload)):
                result = Appended.DUPLICATE
        elif message.retain and self._state.status_digest(found.gateway_id) == content_digest(
            "", message.payload
        ):
            # The broker's memory of it, not the gateway, said it again.
            self.results.append(Appended.DUPLICATE)
            return
        self.results.append(result)
        kind = UNKNOWN_KIND if found.kind is None else found.kind.value
        if result is Appended.DUPLICATE:
            self.came_again.append((source, kind, found.items))
            return
        message_id = self._first_id + len(self.bodies)
        refusals, outcome = found.refusals, Outcome.ACCEPTED
        if result is Appended.CLONED:
            refusals, outcome = (_cloned(found),), Outcome.CLONED
        elif result is Appended.REFUSED:
            outcome = Outcome.REFUSED
        record = Record(
            message.topic,
            message.payload,
            message.received_at_ms,
            kind,
            found.gateway_id,
            found.boot_id,
            found.seq,
            found.items,
            outcome,
            refusals,
        )
        self.bodies.append(record)
        self._state.fold(message_id, record)
        if is_keyed and found.seq is not None and outcome is not Outcome.CLONED:
            self.sources.append(source.number)
            self.seqs.append(found.seq)
            self.ids.append(message_id)

    def _compare(self, message: Incoming, source: Source, seq: int) -> Appended:
        first = self._first_with(source, seq)
        # What retention removed cannot be compared any more: its key stands.
        if first is None or first == (message.topic, message.payload):
            return Appended.DUPLICATE
        if self._state.has_digest(content_digest(message.topic, message.payload)):
            return Appended.DUPLICATE
        return Appended.CLONED

    def _first_with(self, source: Source, seq: int) -> tuple[object, object] | None:
        """Topic and payload of the message that came first with a key."""
        while self._known < len(self.ids):
            at = self._known
            self._places[self.sources[at], self.seqs[at]] = self.ids[at] - self._first_id
            self._known += 1
        place = self._places.get((source.number, seq))
        if place is not None:
            body = self.bodies[place]
            if isinstance(body, Record):
                return body.topic, body.payload
            return body[0], body[1]
        message = self._days.with_key(
            source.gateway_id, source.boot_id, seq, guess=self._recent.find(source.number, seq)
        )
        return None if message is None else (message.topic, message.payload)

    def count_duplicates(self) -> None:
        """Count what came again; after the commit, so that a batch that fails counts nothing."""
        for source, kind, items in self.came_again:
            self._state.touch(source)
            count_message(source.tally, kind, items, first=Count.DUPLICATE_MESSAGES)


def _cloned(found: Assessment) -> Refusal:
    return Refusal(
        None,
        "cloned",
        f"boot {found.boot_id} seq {found.seq} of gateway {found.gateway_id!r} came before with other bytes: two gateways "
        "share an identity, or one counts wrongly",
    )
