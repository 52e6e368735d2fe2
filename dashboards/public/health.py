"""Whether the public service works, and whether what it serves is up to date: in words, for people and programs."""

from dashboards.public.site import Site
from gateway.contract.times import format_timestamp

#: Readers see their number change within seconds; without a look at the store for so long they do not.
_STALE_AFTER_MS = 10_000
#: Analytics writes each pool's state each minute.
_UNJUDGED_AFTER_MS = 180_000
#: A store that hangs is given up after 30 s, and there are two questions in a round. Longer is stuck.
_STUCK_AFTER_MS = 120_000


def not_alive(site: Site) -> list[str]:
    """Why the service should be started again; none: its followers come round."""
    round_at_ms = site.freshness.round_at_ms
    if round_at_ms is None or site.clock() - round_at_ms < _STUCK_AFTER_MS:
        return []
    return [
        f"the store was not followed since {format_timestamp(round_at_ms)}: the loop is stuck; restart the service"
    ]


def not_ready(site: Site) -> list[str]:
    """What is wrong with store, log or analytics; none: what is served is up to date."""
    freshness = site.freshness
    read_at_ms = freshness.store_read_at_ms
    reasons = []
    if read_at_ms is None or site.clock() - read_at_ms > _STALE_AFTER_MS:
        since = "never" if read_at_ms is None else f"last at {format_timestamp(read_at_ms)}"
        reasons.append(f"the store was not read ({since}): {freshness.store_error or 'starting'}")
    elif freshness.judged_at_ms is None or site.clock() - freshness.judged_at_ms > _UNJUDGED_AFTER_MS:
        since = "" if freshness.judged_at_ms is None else f" since {format_timestamp(freshness.judged_at_ms)}"
        reasons.append(f"analytics wrote no state of a pool{since}: does it run on this store?")
    if freshness.log_error is not None:
        reasons.append(f"nothing new is published: {freshness.log_error}")
    return reasons
