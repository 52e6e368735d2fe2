"""What operators watch: read off the board when Prometheus asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboards.public.site import Site
from dashboards.public.snapshots import STATE_ORDER


class BoardCollector(Collector):
    """Metrics of one replica of the public service."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def describe(self) -> list[Metric]:
        """Nothing: the names are known only when collected, and nothing else registers here."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Metrics now."""
        site = self._site
        counters = site.board.counters
        yield CounterMetricFamily(
            "poolwatch_publications", "Changes that were published.", value=counters.publications
        )
        yield CounterMetricFamily(
            "poolwatch_withheld",
            "Numbers taken away at their deadline without a word from analytics.",
            value=counters.withheld,
        )
        yield CounterMetricFamily(
            "poolwatch_publication_log_failures",
            "Rounds in which the log could not be written.",
            value=counters.log_failures,
        )
        yield GaugeMetricFamily(
            "poolwatch_publications_unstored",
            "Publications that wait for the store.",
            value=site.freshness.unstored,
        )
        yield GaugeMetricFamily(
            "poolwatch_stream_clients", "Clients of the stream.", value=site.board.stream_clients
        )
        read_at_ms = site.freshness.store_read_at_ms
        if read_at_ms is not None:
            yield GaugeMetricFamily(
                "poolwatch_store_read_age_seconds",
                "Since the store was last read.",
                value=(site.clock() - read_at_ms) / 1000,
            )
        for name, text, at_ms in (
            (
                "poolwatch_publications_oldest_unstored_age_seconds",
                "Since the oldest publication that waits for the store; 0: none waits.",
                site.freshness.oldest_unstored_at_ms or site.clock(),
            ),
            (
                "poolwatch_judged_age_seconds",
                "Since analytics wrote the newest state of a pool.",
                site.freshness.judged_at_ms,
            ),
            (
                "poolwatch_follower_age_seconds",
                "Since the loop that follows the store came round.",
                site.freshness.round_at_ms,
            ),
        ):
            if at_ms is not None:
                yield GaugeMetricFamily(name, text, value=(site.clock() - at_ms) / 1000)
        yield GaugeMetricFamily(
            "poolwatch_stream_waiting",
            "Changes that clients of the stream have not taken yet.",
            value=site.board.stream_waiting,
        )
        states = [snapshot["state"] for snapshot in site.board.all()]
        pools = GaugeMetricFamily("poolwatch_pools", "Pools by the state that is shown.", labels=["state"])
        for state in STATE_ORDER:
            pools.add_metric([state.value], states.count(state))
        yield pools
        errors = CounterMetricFamily(
            "poolwatch_follower_errors", "Rounds that failed, by follower.", labels=["follower"]
        )
        for name, count in site.freshness.errors.items():
            errors.add_metric([name], count)
        yield errors
