"""The account as metrics: taken now and then beside a running ingest, told whenever somebody asks.

It is what the journal holds and what gateways say of themselves; the store is not asked reading by reading, which is what
`poolwatch reconcile` is for. Everything is read through connections of its own.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client.core import Metric

from gateway.contract.counting import added, counted
from gateway.contract.times import Clock
from ingest.errors import IngestError
from ingest.seq_balance import GatewayClaims
from ingest.store.opening import open_store
from ingest.store.ports import StoreError
from ingest.store.records import GatewayStatusRow
from poolwatch.monitor import as_gauges, fields_as_metrics
from poolwatch.reconcile import GatewayLine, balance_gateways, note_newest
from poolwatch.reconciled import Reconciled, read_reconciled

#: Gateways say each minute what they sent: looking more often would find nothing new.
EVERY_S = 60.0
#: A look may take at most this share of the time: it shares the interpreter with intake.
REST_FACTOR = 50.0
#: Gateways told one by one, some 12 series each; the others are told together.
TOLD_AT_MOST = 1000
#: What stands for gateways that are not in the registry, and for those beyond `TOLD_AT_MOST`.
UNREGISTERED, REST = "unregistered", "rest"

_log = structlog.get_logger()


@dataclass(slots=True)
class ReadingsAccount:
    """Readings of a gateway: received = stored + duplicate + quarantined + in flight."""

    received_messages: int = counted("Messages of which the journal has the seq.", kind="gauge")
    repeated_messages: int = counted("Messages that came again.", kind="gauge")
    received_readings: int = counted("Readings in the journal.", kind="gauge")
    stored_readings: int = counted("Readings that the store said it took.", kind="gauge")
    duplicate_readings: int = counted("Readings that the store had from another message.", kind="gauge")
    quarantined_readings: int = counted("Readings that are in quarantine now.", kind="gauge")
    in_flight_readings: int = counted("Readings on their way from the journal to the store.", kind="gauge")
    dropped_readings: int = counted("Readings that the gateway says it gave up.", kind="gauge")


@dataclass(slots=True)
class MessagesAccount:
    """Messages of a gateway: sent = received + kept + missing."""

    sent_messages: int = counted("Messages that the gateway sent, by their seqs.", kind="gauge")
    kept_messages: int = counted("Messages that are still at the gateway.", kind="gauge")
    missing_messages: int = counted("Messages that were sent and are nowhere.", kind="gauge")
    hole_messages: int = counted(
        "Those of them that the gateway did not say it dropped: nobody accounts for them.", kind="gauge"
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    is_whole: bool = False
    at_ms: int = 0
    took_s: float = 0.0
    readings: Mapping[str, ReadingsAccount] | None = None
    messages: Mapping[str, MessagesAccount] | None = None
    untold: int = 0


class AccountWatch:
    """Takes the account now and then. One thread looks, any may ask for the metrics.

    Parameters
    ----------
    journals : callable
        () -> folders of the journals to add up.
    is_whole : callable
        () -> whether they are all that gateways send to: only then is it known what is missing.
    is_only : bool
        Whether every gateway's status comes here, since there is no other ingest.
    statuses : callable
        () -> the newest status of each gateway that came here since the start.
    gateways : callable
        () -> ids that the registry has.
    store_url : str
        Where statuses are that came before the start, or elsewhere.
    reconciled : Path
        Where `poolwatch reconcile` writes how it ended.
    """

    def __init__(
        self,
        *,
        journals: Callable[[], Sequence[Path]],
        is_whole: Callable[[], bool],
        is_only: bool,
        statuses: Callable[[], Mapping[str, GatewayStatusRow]],
        gateways: Callable[[], Collection[str]],
        store_url: str,
        reconciled: Path,
        clock: Clock,
        told_at_most: int = TOLD_AT_MOST,
    ) -> None:
        self._journals = journals
        self._is_whole = is_whole
        self._is_only = is_only
        self._statuses = statuses
        self._gateways = gateways
        self._store_url = store_url
        self._reconciled = reconciled
        self._clock = clock
        self._told_at_most = told_at_most
        self._claims: dict[str, GatewayClaims] = {}
        self._missing: dict[str, int] = {}
        self._store_said = False
        self._taken = _Taken()
        self._outcome = Reconciled()
        self.failures = 0

    def look(self) -> float:
        """Take the account; returns after how long to take it again. Failures are counted and told, and end nothing. [s]"""
        begun_s = time.monotonic()
        try:
            # Statuses before journals: what a gateway says it sent a moment ago has come a moment later.
            self._take_claims()
            is_whole = self._is_whole()
            lines = balance_gateways(self._journals(), self._claims)
            self._outcome = read_reconciled(self._reconciled)
            took_s = time.monotonic() - begun_s
            self._note(lines, took_s, is_whole=is_whole)
        except IngestError as error:
            self.failures += 1
            _log.warning("the account cannot be taken; it is tried again", error=str(error))
        return max(EVERY_S, REST_FACTOR * (time.monotonic() - begun_s))

    def _take_claims(self) -> None:
        if self._is_only and self._store_said:
            # Every status comes here; asking the store once for those before the start is enough.
            note_newest(self._statuses(), self._claims)
            return
        try:
            with closing(open_store(self._store_url)) as store:
                note_newest(store.gateway_statuses(), self._claims)
            self._store_said = True
        except StoreError as error:
            self.failures += 1
            _log.warning("the store does not tell the gateways' statuses; tried again", error=str(error))
        note_newest(self._statuses(), self._claims)

    def _note(self, lines: Sequence[GatewayLine], took_s: float, *, is_whole: bool) -> None:
        readings: defaultdict[str, list[ReadingsAccount]] = defaultdict(list)
        messages: defaultdict[str, list[MessagesAccount]] = defaultdict(list)
        missing = {line.gateway_id: line.missing for line in lines}
        told = self._told(lines)
        for line in lines:
            name = told[line.gateway_id]
            readings[name].append(_readings(line))
            # Told when two looks agree: after an outage the newest message comes before those that are kept.
            sure = min(line.missing, self._missing.get(line.gateway_id, 0))
            messages[name].append(_messages(line, sure))
        self._missing = missing
        untold = sum(name in (UNREGISTERED, REST) for name in told.values())
        self._taken = _Taken(
            is_whole,
            self._clock(),
            took_s,
            {name: added(ReadingsAccount, parts) for name, parts in readings.items()},
            {name: added(MessagesAccount, parts) for name, parts in messages.items()} if is_whole else None,
            untold,
        )

    def _told(self, lines: Sequence[GatewayLine]) -> dict[str, str]:
        """Under which name each gateway is told: its own, if the registry has it, those with a hole first."""
        known = set(self._gateways())
        told = {line.gateway_id: UNREGISTERED for line in lines}
        registered = [line for line in lines if line.gateway_id in known]
        registered.sort(key=lambda line: (-line.unexplained, line.gateway_id))
        for place, line in enumerate(registered):
            told[line.gateway_id] = line.gateway_id if place < self._told_at_most else REST
        return told

    def metrics(self) -> list[Metric]:
        """Metrics as of the last look."""
        taken, outcome = self._taken, self._outcome
        now_ms = self._clock()
        found = as_gauges(
            "ingest_account",
            {
                "age_s": (
                    "How old the account's figures are; NaN: none was taken yet. [s]",
                    (now_ms - taken.at_ms) / 1000 if taken.at_ms else float("nan"),
                ),
                "took_s": ("How long it took to take them. [s]", taken.took_s),
                "is_whole": (
                    "Whether all journals are here, so that what is missing can be told.",
                    taken.is_whole,
                ),
                "failures": ("Attempts to take the account that failed.", self.failures),
                "untold_gateways": (
                    "Gateways told together, as gateway_id rest or unregistered.",
                    taken.untold,
                ),
                "reconciled_at_ms": (
                    "When `poolwatch reconcile` last ended here; 0: never. [ms since 1970]",
                    outcome.at_ms,
                ),
                "reconciled_readings": (
                    "Readings that it looked for in the store, one by one.",
                    outcome.checked_readings,
                ),
                "reconciled_found": ("Those of them that it found.", outcome.found_readings),
                "reconciled_holes": ("Holes that it found.", outcome.holes),
            },
        )
        for numbers in (taken.readings, taken.messages):
            found += fields_as_metrics("ingest_account", numbers or {}, label="gateway_id")
        return found


def _readings(line: GatewayLine) -> ReadingsAccount:
    tally = line.tally
    return ReadingsAccount(
        received_messages=sum(boot.received for boot in line.boots),
        repeated_messages=tally.duplicate_messages,
        received_readings=tally.readings,
        stored_readings=line.stored,
        duplicate_readings=tally.store_duplicates,
        quarantined_readings=tally.quarantined_readings,
        in_flight_readings=tally.in_flight_readings,
        dropped_readings=line.dropped_readings,
    )


def _messages(line: GatewayLine, missing: int) -> MessagesAccount:
    return MessagesAccount(
        sent_messages=sum(boot.sent for boot in line.boots),
        kept_messages=line.kept,
        missing_messages=missing,
        hole_messages=max(0, missing - line.dropped_readings),
    )
