"""What probes said last that have been silent since before a window begins: their seeds, however long ago it was.

Without them a judging that begins after a probe fell silent would take its next reading for its first.
"""

from collections.abc import Callable, Collection

from analytics.quality import is_sample
from analytics.series import all_online_series, seed_of
from analytics.spans import FAR_MS
from analytics.window import Seeds, SeriesSeed, Window
from ingest.store.ports import FactReader
from ingest.store.records import SeriesKey

#: What is looked back first from the last reading, and by how much more each time.
_FIRST_LOOK_BACK_MS = 7_200_000
_LOOK_BACK_FACTOR = 6


class DormantProbes:
    """Seeds of the silent probes of one pool, read from the store when they are asked for.

    Parameters
    ----------
    window_at : callable
        (instant, how far back) -> a window of that instant [ms], whose readings reach so far back.
    context_ms : int
        How far before an instant lie readings on which its verdicts depend. [ms]
    """

    def __init__(
        self,
        facts: FactReader,
        pool_id: str,
        *,
        window_at: Callable[[int, int], Window],
        context_ms: int,
    ) -> None:
        self._facts = facts
        self._pool_id = pool_id
        self._window_at = window_at
        self._context_ms = context_ms
        self._newest_ms: dict[SeriesKey, int] | None = None
        self._seeds: Seeds = {}

    def forget(self) -> None:
        """Something changed in the past, or in the logbook."""
        self._newest_ms = None
        self._seeds = {}

    def seeds(self, silent_from_ms: int, *, gone: Collection[SeriesKey]) -> Seeds:
        """Seeds of every probe whose last reading lies before an instant, except those `gone`.

        They are of the time just after that reading, and so hold until the next one.
        """
        if self._newest_ms is None:
            latest = self._facts.latest(self._pool_id)
            self._newest_ms = {
                key: int(columns.measured_at_ms[-1])
                for key, columns in latest.items()
                if not is_sample(columns.status).any()
            }
        return {
            key: self._seed(key, at_ms)
            for key, at_ms in self._newest_ms.items()
            if at_ms < silent_from_ms and key not in gone
        }

    def _seed(self, key: SeriesKey, at_ms: int) -> SeriesSeed:
        if key not in self._seeds:
            back_ms = _FIRST_LOOK_BACK_MS
            while (seed := self._seed_by(key, at_ms, back_ms)) is None:
                back_ms *= _LOOK_BACK_FACTOR
            self._seeds[key] = seed
        return self._seeds[key]

    def _seed_by(self, key: SeriesKey, at_ms: int, back_ms: int) -> SeriesSeed | None:
        """None: it depends on what lies farther back."""
        window = self._window_at(at_ms, back_ms)
        found = next((one for one in all_online_series(window, now_ms=at_ms) if one.key == key), None)
        if found is None:
            return SeriesSeed(None, None, {}) if window.complete else None
        seed = seed_of(window, found, at_ms=at_ms + 1, back_ms=0)
        begun_ms = min(seed.active_since_ms.values(), default=FAR_MS)
        surely_from_ms = window.known_from_ms + self._context_ms
        if window.complete or (found.known_from_ms <= at_ms and begun_ms > surely_from_ms):
            return seed
        return None
