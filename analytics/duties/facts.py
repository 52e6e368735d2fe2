"""Facts that serve duties: each with its source, from when it counts and until when it is young enough. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.entries import Correction
from analytics.publication import Facts, aged_facts
from analytics.results import ServingFact
from analytics.spans import FAR_MS, Instants, Spans
from ingest.store.records import SeriesKey

#: `served_by` of the fact that a duty's own beginning is.
BEGIN = "begin"
NO_INSTANTS: Instants = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class FactPart:
    """Facts of one source; arrays of shape (n,). [ms]

    `at_most_ms`: they are in force no longer than this, whatever their age (None: no such end). `reach_ms`: so far
    before an instant every window of that instant holds them all; older ones prove nothing, lest what is said of a
    lapse depend on how much was read.
    """

    served_by: str
    source: str
    counts_from_ms: Instants
    measured_at_ms: Instants
    reach_ms: int = FAR_MS
    at_most_ms: Instants | None = None


@dataclass(frozen=True, slots=True)
class ServingFacts:
    """Facts of all sources, one part after the other, the duty's beginning last; `first` has shape (parts + 1,)."""

    facts: Facts
    parts: tuple[FactPart, ...]
    first: Instants

    @property
    def serving(self) -> Facts:
        """Without those of the last part, which is the duty's beginning."""
        rows = slice(0, int(self.first[-2]))
        facts = self.facts
        return Facts(
            from_ms=facts.from_ms[rows],
            until_ms=facts.until_ms[rows],
            measured_at_ms=facts.measured_at_ms[rows],
        )

    def last_before(self, at_ms: int) -> ServingFact | None:
        """Of the facts that counted at or before an instant the one in force longest, then the youngest."""
        measured = np.minimum(self.facts.measured_at_ms, self.facts.from_ms)
        reach = np.repeat([part.reach_ms for part in self.parts], np.diff(self.first))
        served = (self.facts.from_ms <= at_ms) & (self.facts.until_ms > self.facts.from_ms)
        known = np.flatnonzero(served & (measured >= at_ms - reach))
        return self._best(known)

    def ending_at(self, at_ms: int) -> ServingFact | None:
        """The fact that began to serve at an instant; of several the one in force longest."""
        found = np.flatnonzero((self.facts.from_ms == at_ms) & (self.facts.until_ms > at_ms))
        return self._best(found)

    def _best(self, chosen: NDArray[np.intp]) -> ServingFact | None:
        if not len(chosen):
            return None
        facts = self.facts
        for column in (facts.until_ms, facts.measured_at_ms, facts.from_ms):
            of_chosen = column[chosen]
            chosen = chosen[of_chosen == of_chosen.max()]
        named = [self._named(int(index)) for index in chosen]
        return min(named, key=lambda fact: (fact.served_by, fact.source))

    def _named(self, index: int) -> ServingFact:
        part = self.parts[int(np.searchsorted(self.first, index, side="right")) - 1]
        return ServingFact(
            part.served_by,
            part.source,
            int(self.facts.measured_at_ms[index]),
            int(self.facts.from_ms[index]),
        )


def serving_facts(
    parts: Sequence[FactPart], *, age_ms: int, sessions: Spans, before_session_ms: int | None
) -> ServingFacts:
    """Join what serves a duty; see `aged_facts` for how long each is in force."""
    counts_from = _joined([part.counts_from_ms for part in parts])
    facts = aged_facts(
        from_ms=counts_from,
        measured_at_ms=_joined([part.measured_at_ms for part in parts]),
        age_ms=age_ms,
        sessions=sessions,
        before_session_ms=before_session_ms,
    )
    first = np.cumsum([0, *(len(part.counts_from_ms) for part in parts)])
    if any(part.at_most_ms is not None for part in parts):
        until = facts.until_ms.copy()
        for index, part in enumerate(parts):
            if part.at_most_ms is not None:
                own = until[first[index] : first[index + 1]]
                np.minimum(own, part.at_most_ms, out=own)
        facts = Facts(from_ms=facts.from_ms, until_ms=until, measured_at_ms=facts.measured_at_ms)
    return ServingFacts(facts, tuple(parts), first)


def _joined(parts: Sequence[Instants]) -> Instants:
    return parts[0] if len(parts) == 1 else np.concatenate([NO_INSTANTS, *parts])


def corrected_at_ms(
    corrections: Sequence[Correction], *, quantity: str, sensor_id: str | None, measured_at_ms: Instants
) -> Instants | None:
    """When each reading was first corrected, shape of `measured_at_ms`; None if none was, FAR_MS for those never.

    Without a sensor (a posting names none) every sensor's readings of that quantity and time are meant.
    """
    ends: Instants | None = None
    for correction in corrections:
        key = correction.key
        if key is None or key.quantity != quantity or sensor_id not in (None, key.sensor_id):
            continue
        meant = measured_at_ms == correction.measured_at_ms
        if meant.any():
            ends = np.full(len(measured_at_ms), FAR_MS, dtype=np.int64) if ends is None else ends
            np.minimum(ends, correction.at_ms, out=ends, where=meant)
    return ends


def corrected_part(part: FactPart, corrections: Sequence[Correction], key: SeriesKey) -> FactPart:
    """The part with the end that corrections put to its readings."""
    ends = corrected_at_ms(
        corrections, quantity=key.quantity, sensor_id=key.sensor_id, measured_at_ms=part.measured_at_ms
    )
    return part if ends is None else ending(part, ends)


def ending(part: FactPart, ends_ms: Instants) -> FactPart:
    """The part with facts that end at `ends_ms`, shape (n,), at the latest."""
    at_most = ends_ms if part.at_most_ms is None else np.minimum(part.at_most_ms, ends_ms)
    return FactPart(
        part.served_by, part.source, part.counts_from_ms, part.measured_at_ms, part.reach_ms, at_most
    )
