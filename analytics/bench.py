"""One pool on the bench: what of it is in memory, and how it is judged again when something changed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from analytics.dormant import DormantProbes
from analytics.entries import Entries, read_entries
from analytics.hot import HOUR_MS, HotFacts, hour_of
from analytics.judge import Judgement, judge
from analytics.probe_quality import quality_back_ms
from analytics.results import DutyState, PoolState, Verdict, VerdictState, decode_verdict
from analytics.spans import FAR_MS, Spans, merged
from analytics.standards.profile import DutyKind, Profile, rules_for
from analytics.verdicts import reconcile
from analytics.window import Seeds, Window, context_ms, split_samples
from gateway.contract.opening import open_intervals
from gateway.contract.registry import Pool, Venue
from ingest.store.ports import FactReader, ResultStore
from ingest.store.records import Arrival, ArrivalKind, SeriesKey

DAY_MS = 86_400_000
#: How far back a pool is judged anew when it comes on the bench.
_AFRESH_MS = 36 * HOUR_MS
#: Opening hours are laid out from before anything that is looked at to some days ahead.
_OPENING_BEFORE_MS = 3 * DAY_MS
_OPENING_AHEAD_MS = 8 * DAY_MS
#: Gateways' clocks may be ahead by ten minutes; such readings are kept until their time.
_AHEAD_MS = 900_000
#: What is looked back first, and by how much more each time, until nothing from before can matter.
_FIRST_LOOK_BACK_MS = 2 * HOUR_MS
_LOOK_BACK_FACTOR = 6
_LAPSE_MARGIN_MS = 600_000
_KEPT_HOT_MS = 3 * HOUR_MS
_MOST_SEEDS = 4
_ENDED_BY_PUBLICATION = (DutyKind.ONLINE_PUBLICATION, DutyKind.POSTING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to write about a pool after judging it; the bench counts it as written with `PoolBench.accept`."""

    revisions: list[Verdict]
    state: PoolState
    state_changed: bool


class PoolBench:
    """Facts, seeds and current verdicts of one pool in memory; all of it can be read from the store again."""

    def __init__(
        self,
        *,
        pool: Pool,
        venue: Venue,
        profile: Profile,
        facts: FactReader,
        results: ResultStore,
        last_state_ms: int | None,
        changed_from_ms: int,
        new_id: Callable[[], str],
    ) -> None:
        self.pool = pool
        self._venue = venue
        self._profile = profile
        self._rules = rules_for(profile, pool.kind)
        self._facts = facts
        self._results = results
        self._new_id = new_id
        self._context_ms = context_ms(pool, profile)
        self._posting_age_ms = max(
            (duty.age_ms for duty in self._rules.duties if duty.duty is DutyKind.POSTING), default=0
        )
        self._quality_back_ms = quality_back_ms(pool, profile)
        self._hot = HotFacts(facts, pool.pool_id)
        self._dormant = DormantProbes(
            facts,
            pool.pool_id,
            window_at=self._past_window,
            context_ms=self._context_ms,
        )
        self._entries: Entries = read_entries(facts.logbook(pool.pool_id, from_ms=0, to_ms=FAR_MS))
        self._first_reading_ms = facts.first_reading_ms(pool.pool_id)
        self._measured = frozenset(key.quantity for key in facts.latest(pool.pool_id))
        self._verdicts: dict[str, Verdict] = {}
        self._verdicts_from_ms = FAR_MS
        self._seeds: dict[int, Seeds] = {}
        self._opening: tuple[int, int, Spans] | None = None
        self._state: PoolState | None = None
        self._last_judged_ms = last_state_ms
        self._afresh = True
        self._changed_from_ms = changed_from_ms

    @property
    def next_change_ms(self) -> int | None:
        """When time alone changes the state that was last accepted."""
        return None if self._state is None else self._state.next_change_ms

    @property
    def lacks_publication(self) -> bool:
        """Whether a lapse that a publication may end was open when the pool was last judged."""
        return any(
            verdict.rule in _ENDED_BY_PUBLICATION and verdict.state is VerdictState.OPEN
            for verdict in self._verdicts.values()
        )

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Take in new facts; they are judged with the next `judge`."""
        arrivals = list(arrivals)
        if not arrivals:
            return
        changed = self._hot.refresh(arrivals)
        kinds = {arrival.kind for arrival in arrivals}
        if ArrivalKind.LOGBOOK in kinds:
            # An entry may speak of any time (from, until, measured_at), so the recent past is judged afresh.
            self._entries = read_entries(self._facts.logbook(self.pool.pool_id, from_ms=0, to_ms=FAR_MS))
            self._afresh = True
            hours = [arrival.hour_ms for arrival in arrivals if arrival.kind is ArrivalKind.LOGBOOK]
            changed = min([*hours, FAR_MS if changed is None else changed])
        if changed is None:
            return
        self._changed_from_ms = min(self._changed_from_ms, changed)
        if self._first_reading_ms is None or changed < self._first_reading_ms:
            self._first_reading_ms = self._facts.first_reading_ms(self.pool.pool_id)
        self._dormant.forget()
        still_true = changed - self._context_ms
        self._seeds = {at_ms: seeds for at_ms, seeds in self._seeds.items() if at_ms <= still_true}

    def judge(self, now_ms: int) -> Outcome:
        """Judge what changed since the last accepted judging, and what time changed."""
        judged_from_ms = min(now_ms, self._changed_from_ms, self._since_ms(now_ms)) - self._context_ms
        look_from_ms = judged_from_ms
        back_ms = _FIRST_LOOK_BACK_MS
        while True:
            current = self._current(judged_from_ms)
            look_from_ms = min([look_from_ms, *(self._facts_from_ms(verdict) for verdict in current)])
            window = self._window(
                now_ms, judged_from_ms=judged_from_ms, look_from_ms=look_from_ms, back_ms=back_ms
            )
            judgement = judge(window, now_ms)
            if not window.complete and judgement.known_from_ms > min(judged_from_ms, look_from_ms):
                back_ms *= _LOOK_BACK_FACTOR
                continue
            starts = min((self._facts_from_ms(finding) for finding in judgement.findings), default=now_ms)
            # One that begins at the edge may have begun before it.
            if starts <= look_from_ms - _LAPSE_MARGIN_MS and not self._begins_after(look_from_ms):
                look_from_ms = starts - back_ms
                back_ms *= _LOOK_BACK_FACTOR
                continue
            break
        if judgement.seeds is not None and window.seed_at_ms is not None:
            self._seeds[window.seed_at_ms] = judgement.seeds
            for at_ms in sorted(self._seeds)[:-_MOST_SEEDS]:
                del self._seeds[at_ms]
        return self._outcome(judgement, current, now_ms)

    def _facts_from_ms(self, verdict: Verdict) -> int:
        """From when on readings and publications are needed to judge a verdict.

        A full test's lapse, which may last years, needs none. Why a result was not posted shows in what was measured and
        published as far back as it would have served.
        """
        if verdict.rule == DutyKind.FULL_TEST:
            return FAR_MS
        return verdict.start_ms - (self._posting_age_ms if verdict.rule == DutyKind.POSTING else 0)

    def _begins_after(self, at_ms: int) -> bool:
        begin_ms = self.pool.from_ms if self.pool.from_ms is not None else self._first_reading_ms
        return begin_ms is None or begin_ms >= at_ms - _LAPSE_MARGIN_MS

    def _since_ms(self, now_ms: int) -> int:
        """From when on nothing was judged yet, or everything has to be judged afresh."""
        if not self._afresh:
            return now_ms if self._last_judged_ms is None else self._last_judged_ms
        begin_ms = self.pool.from_ms if self.pool.from_ms is not None else self._first_reading_ms
        last_ms = begin_ms if self._last_judged_ms is None else self._last_judged_ms
        return min(now_ms - _AFRESH_MS, now_ms if last_ms is None else last_ms)

    def _current(self, judged_from_ms: int) -> list[Verdict]:
        """Current verdicts, not withdrawn, that reach the judged span."""
        if judged_from_ms < self._verdicts_from_ms:
            rows = self._results.verdicts(self.pool.pool_id, from_ms=judged_from_ms - 1)
            self._verdicts = {row.verdict_id: decode_verdict(row.body) for row in rows}
            self._verdicts_from_ms = judged_from_ms
        return [
            verdict
            for verdict in self._verdicts.values()
            if verdict.state is not VerdictState.WITHDRAWN
            and (verdict.end_ms is None or verdict.end_ms >= judged_from_ms)
        ]

    def _window(self, now_ms: int, *, judged_from_ms: int, look_from_ms: int, back_ms: int) -> Window:
        look_from_ms -= _LAPSE_MARGIN_MS
        seeded = [at_ms for at_ms in self._seeds if at_ms <= look_from_ms - self._context_ms]
        known_from_ms = max(seeded, default=hour_of(look_from_ms - self._context_ms - back_ms))
        first_ms = self._first_reading_ms
        online_age_ms = max(self._rules.online_age_ms(limit.quantity) for limit in self._rules.limits)
        opening_to_ms = hour_of(now_ms) + _OPENING_AHEAD_MS
        ahead_ms = now_ms + _AHEAD_MS
        wanted_ms = hour_of(now_ms - 2 * self._context_ms - _LAPSE_MARGIN_MS)
        samples = self._hot.samples(from_ms=look_from_ms - self._rules.longest_age_ms, to_ms=ahead_ms)
        online = self._hot.online(from_ms=known_from_ms - self._quality_back_ms, to_ms=ahead_ms)
        self._measured |= {key.quantity for key in (*online, *samples)}
        complete = bool(seeded) or first_ms is None or known_from_ms <= first_ms
        return Window(
            pool=self.pool,
            venue=self._venue,
            profile=self._profile,
            opening=self._opening_spans(known_from_ms - _OPENING_BEFORE_MS, opening_to_ms),
            online=online,
            samples=samples,
            publications=self._hot.publications(from_ms=look_from_ms - online_age_ms, to_ms=ahead_ms),
            entries=self._entries,
            opening_to_ms=opening_to_ms,
            judged_from_ms=judged_from_ms,
            look_from_ms=look_from_ms,
            known_from_ms=known_from_ms,
            complete=complete,
            first_reading_ms=first_ms,
            measured=self._measured,
            seeds=self._seeds[known_from_ms] if seeded else None,
            seed_at_ms=self._wanted_seed(wanted_ms, known_from_ms, seeded=bool(seeded)),
            quality_back_ms=self._quality_back_ms,
            dormant={} if complete else self._dormant_seeds(known_from_ms - self._quality_back_ms),
        )

    def _dormant_seeds(self, silent_from_ms: int) -> Seeds:
        gone = {
            SeriesKey(sensor.sensor_id, sensor.quantity)
            for sensor in self.pool.sensors
            if sensor.until_ms is not None and sensor.until_ms <= silent_from_ms
        }
        return self._dormant.seeds(silent_from_ms, gone=gone)

    def _past_window(self, at_ms: int, back_ms: int) -> Window:
        """What there was to know of the probes at an instant."""
        known_from_ms = hour_of(at_ms - self._context_ms - back_ms)
        opening_to_ms = hour_of(at_ms) + 2 * DAY_MS
        online, _ = split_samples(
            self._facts.readings(
                self.pool.pool_id, from_ms=known_from_ms - self._quality_back_ms, to_ms=at_ms + 1
            )
        )
        return Window(
            pool=self.pool,
            venue=self._venue,
            profile=self._profile,
            opening=merged(
                open_intervals(self.pool, from_ms=known_from_ms - _OPENING_BEFORE_MS, to_ms=opening_to_ms)
            ),
            online=online,
            samples={},
            publications={},
            entries=self._entries,
            opening_to_ms=opening_to_ms,
            judged_from_ms=at_ms,
            look_from_ms=at_ms,
            known_from_ms=known_from_ms,
            complete=self._first_reading_ms is None or known_from_ms <= self._first_reading_ms,
            first_reading_ms=self._first_reading_ms,
            quality_back_ms=self._quality_back_ms,
        )

    def _wanted_seed(self, wanted_ms: int, known_from_ms: int, *, seeded: bool) -> int | None:
        """The hour for which seeds would let the next judging begin later; with seeds the start needs its context."""
        if wanted_ms in self._seeds or wanted_ms < known_from_ms + (self._context_ms if seeded else 0):
            return None
        return wanted_ms

    def _opening_spans(self, from_ms: int, to_ms: int) -> Spans:
        if self._opening is None or from_ms < self._opening[0] or to_ms > self._opening[1]:
            from_ms = hour_of(from_ms) - DAY_MS
            spans = merged(open_intervals(self.pool, from_ms=from_ms, to_ms=to_ms))
            self._opening = (from_ms, to_ms, spans)
        return self._opening[2]

    def _outcome(self, judgement: Judgement, current: list[Verdict], now_ms: int) -> Outcome:
        revisions = reconcile(judgement.findings, current, judged_at_ms=now_ms, new_id=self._new_id)
        after = {**self._verdicts, **{verdict.verdict_id: verdict for verdict in revisions}}
        open_ids = [
            verdict.verdict_id
            for verdict in after.values()
            if verdict.state not in (VerdictState.CLOSED, VerdictState.WITHDRAWN)
        ]
        state = replace(judgement.pool_state, open_verdicts=sorted(open_ids))
        changed = bool(revisions) or self._state is None or _essence(state) != _essence(self._state)
        return Outcome(revisions=revisions, state=state, state_changed=changed)

    def accept(self, outcome: Outcome, now_ms: int) -> None:
        """The outcome is in the store: go on from it."""
        for verdict in outcome.revisions:
            self._verdicts[verdict.verdict_id] = verdict
        kept_from_ms = now_ms - _AFRESH_MS - self._context_ms
        ended = [
            verdict.verdict_id
            for verdict in self._verdicts.values()
            if verdict.end_ms is not None and verdict.end_ms < kept_from_ms
        ]
        for verdict_id in ended:
            del self._verdicts[verdict_id]
        self._verdicts_from_ms = (
            max(self._verdicts_from_ms, kept_from_ms) if ended else self._verdicts_from_ms
        )
        self._state = outcome.state
        self._afresh = False
        self._changed_from_ms = FAR_MS
        self._last_judged_ms = now_ms
        oldest_open_ms = min(
            (self._facts_from_ms(v) for v in self._verdicts.values() if v.end_ms is None),
            default=now_ms,
        )
        self._hot.put_away(
            before_ms=min(now_ms - _KEPT_HOT_MS, oldest_open_ms)
            - 2 * self._context_ms
            - self._quality_back_ms
            - HOUR_MS,
            samples_before_ms=min(now_ms, oldest_open_ms) - self._rules.longest_age_ms - 2 * DAY_MS,
        )


def _essence(state: PoolState) -> PoolState:
    """What of a state is worth writing at once: not what only counts on with time."""
    duties = [DutyState(duty.duty, duty.quantity, duty.standing, duty.clause) for duty in state.duties]
    return replace(state, at_ms=0, duties=duties, next_change_ms=None)
