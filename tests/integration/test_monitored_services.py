"""Every service under its monitor, as real processes: what each tells, that it is documented, and when it is not ready."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from poolwatch.clock import system_clock_ms
from poolwatch.demo import DemoSettings, prepare_folder
from poolwatch.folder import DataFolder
from simulators.scenarios import build_scenario
from tests.integration.fault_bench import free_port, needs_mosquitto, until

pytestmark = [pytest.mark.integration, needs_mosquitto]

_ROW = re.compile(r"^\| `(poolwatch_\w+)` \| (counter|gauge|histogram) \| (.+) \|$", re.MULTILINE)
_POOLS = 3
#: Told only where the store is a server, which has a clock of its own.
_OF_A_SERVER = "poolwatch_ingest_store_clock_"


class Family(NamedTuple):
    """A metric as it is told: its kind, its sentence, its numbers by the values of their labels."""

    kind: str
    text: str
    numbers: dict[tuple[str, ...], float]


class Deployment:
    """Broker, ingest, analytics, pages and simulated gateways, each with a monitor."""

    def __init__(self, root: Path) -> None:
        self.broker_port = free_port()
        self.ports: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        settings = DemoSettings(
            data_dir=root,
            keep=False,
            port=free_port(),
            broker_port=self.broker_port,
            pools=_POOLS,
            seed=1,
            duration_s=None,
        )
        self._page_port = settings.port
        scenario = build_scenario("steady", pools=_POOLS, seed=1, start_ms=system_clock_ms())
        self.folder: DataFolder = prepare_folder(settings, scenario)

    def start(self, name: str) -> None:
        more = {
            "broker": ("--port", str(self.broker_port)),
            "dashboards": ("--port", str(self._page_port)),
            "simulate": ("--scenario", "steady", "--pools", str(_POOLS)),
        }
        self.ports[name] = free_port()
        command = (name, "--data-dir", str(self.folder.root), "--monitor-port", str(self.ports[name]))
        with (self.folder.root / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "poolwatch", *command, *more.get(name, ())],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def stop(self, name: str, by: int = signal.SIGTERM) -> None:
        process = self._running.pop(name)
        process.send_signal(by)
        process.wait(30)

    def child_of(self, name: str) -> psutil.Process:
        """The server that a service runs."""
        (child,) = psutil.Process(self._running[name].pid).children()
        return child

    def close(self) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Answer of a monitor; (0, "") while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def reasons(self, name: str) -> list[str]:
        """Why a service is not ready."""
        status, text = self.get(name, "/readyz")
        if not text:
            return ["it does not listen"]
        reasons: list[str] = json.loads(text)["reasons"]
        assert status == (503 if reasons else 200)
        return reasons

    def metrics(self, name: str) -> dict[str, Family]:
        status, text = self.get(name, "/metrics")
        if not status:
            return {}
        assert status == 200, text
        return {
            family.name: Family(
                family.type,
                family.documentation,
                {tuple(sample.labels.values()): sample.value for sample in family.samples},
            )
            for family in text_string_to_metric_families(text)
        }

    def number(self, name: str, metric: str, *labels: str) -> float:
        """One number; -1 while it is not told."""
        family = self.metrics(name).get(metric)
        return -1.0 if family is None else family.numbers.get(labels, -1.0)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path / "folder")
    yield made
    made.close()


def _start_all(deployment: Deployment) -> None:
    names = ("broker", "ingest", "analytics", "dashboards", "simulate")
    for name in names:
        deployment.start(name)
    for name in names:
        until(lambda name=name: deployment.reasons(name) == [], f"{name} is ready")  # type: ignore[misc]


def test_every_service_is_ready_and_every_metric_is_documented(
    deployment: Deployment, pytestconfig: pytest.Config
) -> None:
    _start_all(deployment)
    names = tuple(deployment.ports)
    assert all(deployment.get(name, "/healthz")[0] == 200 for name in names)
    until(lambda: deployment.number("broker", "poolwatch_broker_uptime_s") > 0, "the broker speaks of itself")
    gateway = next(iter(deployment.folder.read_registry().gateways))
    account = "poolwatch_ingest_account_received_readings"
    until(lambda: deployment.number("ingest", account, gateway) >= 0, "the account is taken")
    until(
        lambda: deployment.number("simulate", "poolwatch_gateway_receipts", gateway) > 0, "receipts come back"
    )

    told: dict[str, Family] = {}
    for name in names:
        told |= deployment.metrics(name)
    text = (Path(pytestconfig.rootpath) / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = {name: (kind, says) for name, kind, says in _ROW.findall(text)}
    assert {name: (family.kind, family.text) for name, family in told.items()} == {
        name: row for name, row in documented.items() if not name.startswith(_OF_A_SERVER)
    }


def test_the_numbers_are_those_of_the_way(deployment: Deployment) -> None:
    _start_all(deployment)
    gateway = next(iter(deployment.folder.read_registry().gateways))

    def of(metric: str) -> float:
        return deployment.number("simulate", f"poolwatch_gateway_{metric}", gateway)

    until(lambda: of("receipts") > 0 and of("appended_messages") > 0, "a gateway sends")
    assert of("sent") >= 1
    assert of("connected") == 1
    assert of("outbox_bytes") > 0
    assert of("disk_free_bytes") > 0
    until(
        lambda: deployment.number("ingest", "poolwatch_ingest_stored_readings") > 0, "ingest stores readings"
    )
    ingest = deployment.metrics("ingest")
    assert ingest["poolwatch_ingest_connections"].numbers[()] == 1
    assert ingest["poolwatch_ingest_journal_days"].numbers[()] == 1
    assert ingest["poolwatch_ingest_journal_bytes"].numbers[()] > 0
    until(
        lambda: deployment.number("broker", "poolwatch_broker_connected_clients") >= _POOLS,
        "the broker counts its clients",
    )


def test_what_depends_on_the_broker_says_so_and_recovers(deployment: Deployment) -> None:
    _start_all(deployment)
    deployment.stop("broker", signal.SIGKILL)
    until(
        lambda: any("broker is not connected" in reason for reason in deployment.reasons("ingest")),
        "ingest misses the broker",
    )
    until(
        lambda: any("without the broker" in reason for reason in deployment.reasons("simulate")),
        "gateways miss the broker",
    )
    assert deployment.get("ingest", "/healthz")[0] == 200
    assert deployment.get("simulate", "/healthz")[0] == 200
    deployment.start("broker")
    for name in ("broker", "ingest", "simulate"):
        until(lambda name=name: deployment.reasons(name) == [], f"{name} is ready again")  # type: ignore[misc]
    assert deployment.number("ingest", "poolwatch_ingest_connections") == 2


def test_a_registry_with_mistakes_is_told_by_all_that_follow_it(deployment: Deployment) -> None:
    deployment.start("broker")
    deployment.start("ingest")
    for name in ("broker", "ingest"):
        until(lambda name=name: deployment.reasons(name) == [], f"{name} is ready")  # type: ignore[misc]
    good = deployment.folder.registry.read_text(encoding="utf-8")
    deployment.folder.registry.write_text("schema = 99\n", encoding="utf-8")
    until(
        lambda: any("is not in force" in reason for reason in deployment.reasons("broker")),
        "the broker's monitor tells it",
    )
    until(lambda: deployment.number("ingest", "poolwatch_ingest_registry_refused") == 1, "ingest tells it")
    deployment.folder.registry.write_text(good, encoding="utf-8")
    until(lambda: deployment.reasons("broker") == [], "the broker follows again")
    until(
        lambda: deployment.number("ingest", "poolwatch_ingest_registry_refused") == 0, "ingest follows again"
    )


def test_a_broker_that_hangs_is_not_ready(deployment: Deployment) -> None:
    deployment.start("broker")
    until(lambda: deployment.number("broker", "poolwatch_broker_uptime_s") > 0, "the broker speaks of itself")
    mosquitto: Any = deployment.child_of("broker")
    os.kill(mosquitto.pid, signal.SIGSTOP)
    try:
        until(
            lambda: any("said nothing for" in reason for reason in deployment.reasons("broker")),
            "the monitor notices",
        )
    finally:
        os.kill(mosquitto.pid, signal.SIGCONT)
    until(lambda: deployment.reasons("broker") == [], "it goes on")
