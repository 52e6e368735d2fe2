"""The monitor of the broker: what Mosquitto says of itself, whether it is reached, and the files that it follows."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.contract.credentials import Credential
from ingest.broker import local_host
from ingest.broker_config import MAX_QUEUED_BYTES
from ingest.broker_watch import WatchFigures
from ingest.subscriber_sys import SysReader
from poolwatch.monitor import as_gauges, monitored

#: Mosquitto speaks each 10 s. After so long it does not do its work, after the longer time it is stuck. [s]
_LATE_AFTER_S, _STUCK_AFTER_S = 25.0, 60.0
_CONNECT_WITHIN_S = 1.0
#: Share of what it may hold for one client, from which on somebody should look. Ours.
_NEARLY_FULL = 0.8
_MONITOR_USER = "poolwatch-monitor"

#: Mosquitto's topics below `$SYS/broker/`: our name, whether it is a counter, what it says.
_SAID: dict[str, tuple[str, bool, str]] = {
    "clients/connected": ("connected_clients", False, "Clients that are connected, the monitor too."),
    "clients/disconnected": (
        "away_clients",
        False,
        "Clients whose session the broker keeps while they are away.",
    ),
    "clients/expired": ("expired_clients", True, "Sessions that ended because their client stayed away."),
    "subscriptions/count": ("subscriptions", False, "Subscriptions of all clients."),
    "publish/messages/received": ("received_messages", True, "Messages that clients published."),
    "publish/messages/sent": ("sent_messages", True, "Messages handed to clients."),
    "publish/messages/dropped": (
        "dropped_messages",
        True,
        "Messages given up for lack of room; gateways send theirs again.",
    ),
    "store/messages/count": ("kept_messages", False, "Messages that the broker holds, retained ones too."),
    "store/messages/bytes": ("kept_bytes", False, "What those take. [byte]"),
    "retained messages/count": ("retained_messages", False, "Retained messages."),
    "bytes/received": ("received_bytes", True, "Bytes that came from clients. [byte]"),
    "bytes/sent": ("sent_bytes", True, "Bytes that went to clients. [byte]"),
    "heap/current": ("heap_bytes", False, "Memory that the broker uses. [byte]"),
    "uptime": ("uptime_s", False, "Since the broker started. [s]"),
}


def make_monitor_credential(*, host: str, port: int) -> Credential:
    """User of the monitor, with a password that nobody else knows and that ends with this process."""
    return Credential(_MONITOR_USER, secrets.token_urlsafe(24), local_host(host), port)


class BrokerGauges:
    """Metrics and reasons of one broker.

    Parameters
    ----------
    said : SysReader or None
        What the broker says of itself; None for one that says nothing.
    figures : WatchFigures
        Of the files that it follows.
    """

    def __init__(self, *, host: str, port: int, said: SysReader | None, figures: WatchFigures) -> None:
        self._host, self._port = local_host(host), port
        self._said = said
        self._figures = figures

    def metrics(self) -> list[Metric]:
        """Metrics now; what the broker has not said yet is left out."""
        found = as_gauges(
            "broker",
            {
                "reachable": (
                    "Whether the broker is heard, or its port takes connections.",
                    float(self._is_reachable()),
                )
            },
        )
        if self._said is None:
            return found
        silent_s = self._said.silent_s
        found += as_gauges(
            "broker", {"silent_s": ("Since the broker said something of itself. [s]", silent_s)}
        )
        for topic, number in self._said.numbers.items():
            if topic in _SAID:
                name, is_counter, text = _SAID[topic]
                make = CounterMetricFamily if is_counter else GaugeMetricFamily
                found.append(make(f"poolwatch_broker_{name}", text, value=number))
        return found

    def _is_reachable(self) -> bool:
        """Whether it is heard, or else its port answers: in the log of a listener with TLS a mere look is an error."""
        if self._said is not None and self._said.has_spoken and self._said.silent_s < _LATE_AFTER_S:
            return True
        try:
            with socket.create_connection((self._host, self._port), timeout=_CONNECT_WITHIN_S):
                return True
        except OSError:
            return False

    def not_alive(self) -> list[str]:
        """Why it should be started again; none: it works."""
        if self._said is None or self._said.silent_s < _STUCK_AFTER_S:
            return []
        return [f"the broker said nothing for {self._said.silent_s:.0f} s: it is stuck; restart the service"]

    def not_ready(self) -> list[str]:
        """What keeps messages from passing, in words."""
        reasons = []
        if not self._is_reachable():
            reasons.append(f"{self._host}:{self._port} takes no connection: the broker's log says why")
        if self._said is not None and self._said.silent_s >= _LATE_AFTER_S:
            reasons.append(f"the broker said nothing for {self._said.silent_s:.0f} s")
        kept = 0.0 if self._said is None else self._said.numbers.get("store/messages/bytes", 0.0)
        if kept > _NEARLY_FULL * MAX_QUEUED_BYTES:
            reasons.append(
                f"the broker holds {kept / 1e6:.0f} MB: see that ingest runs; from {MAX_QUEUED_BYTES / 1e6:.0f} MB on it "
                "drops messages, and gateways send them again"
            )
        figures = self._figures
        if figures.credentials_refused or figures.registry_refused or figures.files_unwritten:
            reasons.append(
                "what was changed in pools.toml or credentials.toml is not in force: the log says why"
            )
        if figures.certificate_days_left < 0:
            reasons.append("the certificate has ended, nobody can connect: run `poolwatch pki renew`")
        return reasons


@contextmanager
def watching_broker(
    *,
    host: str,
    port: int,
    credential: Credential | None,
    ca_file: Path | None,
    figures: WatchFigures,
    monitor_host: str,
    monitor_port: int | None,
) -> Iterator[None]:
    """Serve the broker's monitor meanwhile; without a port, nothing is served and nobody listens.

    Parameters
    ----------
    credential : Credential or None
        The monitor's; None for a broker that says nothing of itself.
    """
    if monitor_port is None:
        yield
        return
    reader = None if credential is None else SysReader(credential, ca_file=ca_file)
    gauges = BrokerGauges(host=host, port=port, said=reader, figures=figures)
    try:
        with monitored(
            "broker",
            host=monitor_host,
            port=monitor_port,
            counters=figures,
            gauges=gauges.metrics,
            not_alive=gauges.not_alive,
            not_ready=gauges.not_ready,
        ):
            yield
    finally:
        if reader is not None:
            reader.close()
