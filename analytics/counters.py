"""What analytics counts while it runs; their `help` is what operators read."""

from dataclasses import dataclass, field
from typing import Any


def _counted(text: str, **more: str) -> Any:
    return field(default=0, metadata={"help": text, **more})


@dataclass(slots=True)
class AnalyticsCounters:
    """Counts since the start of the process; `last_*` are instants in ms, 0 before the first."""

    judgements: int = _counted("Judgements of a pool.")
    arrivals: int = _counted("Arrivals worked through.")
    revisions: int = _counted("Revisions of verdicts written.")
    failures: int = _counted("Rounds and pools that failed; each is tried again.")
    fast_clocks: int = _counted("Arrivals stamped more than 30 s ahead of this machine's clock.")
    pools: int = _counted("Pools that this service judges.", kind="gauge")
    unjudged_pools: int = _counted("Pools that cannot be judged now.", kind="gauge")
    last_round_at_ms: int = _counted("When the last round ended. [ms since 1970]", kind="gauge")
    last_arrival_at_ms: int = _counted(
        "When the store had taken the newest fact. [ms since 1970]", kind="gauge"
    )
