"""What analytics counts while it runs; their `help` is what operators read."""

from dataclasses import dataclass

from gateway.contract.counting import counted


@dataclass(slots=True)
class AnalyticsCounters:
    """Counts since the start of the process; `last_*` are instants in ms, 0 before the first."""

    judgements: int = counted("Judgements of a pool.")
    arrivals: int = counted("Arrivals worked through.")
    revisions: int = counted("Revisions of verdicts written.")
    failures: int = counted("Rounds and pools that failed; each is tried again.")
    fast_clocks: int = counted("Arrivals stamped more than 30 s ahead of this machine's clock.")
    store_failures: int = counted("Rounds in which the store did not answer; each is tried again.")
    registry_refusals: int = counted(
        "Versions of the registry that were refused; the old one stays in force."
    )
    pools: int = counted("Pools that this service judges.", kind="gauge")
    unjudged_pools: int = counted("Pools that cannot be judged now.", kind="gauge")
    waiting_pools: int = counted("Pools of which something arrived that is not judged yet.", kind="gauge")
    arrivals_waiting: int = counted(
        "Whether the store has more arrivals than one round takes, so that this service is behind.",
        kind="gauge",
    )
    arrival_age_ms: int = counted(
        "How long the oldest fact of the last arrivals was in the store before it was seen. [ms]",
        kind="gauge",
    )
    round_ms: int = counted("How long the last round that judged something took. [ms]", kind="gauge")
    last_round_at_ms: int = counted("When the last round ended. [ms since 1970]", kind="gauge")
    last_arrival_at_ms: int = counted(
        "When the store had taken the newest fact. [ms since 1970]", kind="gauge"
    )
