"""`poolwatch demo`: the whole system on one machine, with simulated pools whose water goes wrong on a timetable."""

import secrets
import shutil
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from analytics.results import Verdict, VerdictKind, VerdictState, decode_verdict
from gateway.contract.credentials import Credential, Credentials, render_credentials
from gateway.contract.readings import MANUAL_SENSOR
from gateway.contract.registry import Registry
from ingest.journal.account import read_account
from ingest.store.opening import open_store
from ingest.store.ports import Store, StoreUnavailableError
from poolwatch.clock import stop_on_signals, system_clock_ms
from poolwatch.demo_influx import start_influx
from poolwatch.folder import DataFolder
from poolwatch.reconcile import print_account, take_account
from poolwatch.supervisor import Child, Supervisor
from simulators.faults import Fault
from simulators.scenarios import Scenario, build_scenario

_LOOPBACK = "127.0.0.1"
#: A folder with this file was made by a demo, which may set it aside for the next one.
_MARK = ".made-by-poolwatch-demo"
_READY_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.25
_SETTLE_WITHIN_S = 20.0


class DemoError(Exception):
    """The demo cannot go on; says why and what to do."""


@dataclass(slots=True)
class DemoSettings:
    """What `poolwatch demo` was asked for."""

    data_dir: Path
    keep: bool
    port: int
    broker_port: int
    pools: int
    seed: int
    duration_s: float | None
    scenario: str = "demo"
    store: str = "sqlite"

    def store_of(self, folder: DataFolder, service: str) -> str | None:
        """Address of the store for a service; None: the embedded one of the folder."""
        return None if self.store == "sqlite" else f"influx:{folder.influx / service}.toml"


@dataclass(slots=True)
class _Narrator:
    """Says on the terminal what happens, with the seconds since the start."""

    console: Console
    registry: Registry
    start_ms: int
    open_ids: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        elapsed_s = (system_clock_ms() - self.start_ms) / 1000
        self.console.print(f"[dim]{elapsed_s:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    def pool_name(self, pool_id: str) -> str:
        pool = self.registry.pools.get(pool_id)
        return pool_id if pool is None else f"{pool.name_zh} ({pool_id})"

    def fault_began(self, fault: Fault) -> None:
        self.say(f"[cyan]fault begins[/]  {fault.describe()}")

    def fault_ended(self, fault: Fault) -> None:
        self.say(f"[cyan]fault ends[/]    {fault.describe()}")

    def verdicts(self, verdicts: list[Verdict]) -> None:
        """Say what opened, closed or was withdrawn; further revisions of an open one are not news.

        Quantities of one pool that share a rule and an event are told together.
        """
        told: dict[tuple[str, str, str, str], list[Verdict]] = {}
        for verdict in verdicts:
            event = self._event(verdict)
            if event is not None:
                rule = verdict.rule if verdict.kind is VerdictKind.LAPSE else verdict.verdict_id
                told.setdefault((event, verdict.kind, verdict.pool_id, rule), []).append(verdict)
        for (event, kind, pool_id, _), group in told.items():
            colour = {"opens": "bold red", "closes": "green"}.get(event, "yellow")
            self.say(f"[{colour}]{kind} {event}[/]  {self.pool_name(pool_id)}: {_describe(group)}")

    def _event(self, verdict: Verdict) -> str | None:
        known = verdict.verdict_id in self.open_ids
        if verdict.state in (VerdictState.CLOSED, VerdictState.WITHDRAWN):
            self.open_ids.discard(verdict.verdict_id)
            if verdict.state is VerdictState.CLOSED:
                return "closes"
            return "is withdrawn" if known else None
        self.open_ids.add(verdict.verdict_id)
        return None if known else "opens"


def _describe(group: list[Verdict]) -> str:
    """What verdicts of one rule say, with clause and, once it is over, duration."""
    first = group[0]
    quantities = ", ".join(dict.fromkeys(verdict.quantity for verdict in group))
    over = f", after {(first.end_ms - first.start_ms) / 1000:.0f} s" if first.end_ms is not None else ""
    if first.kind is VerdictKind.EXCEEDANCE:
        by = "a test by hand" if first.sensor_id == MANUAL_SENSOR else str(first.sensor_id)
        return f"{quantities} {first.worst_value:g} against {first.limit:g} by {by}{over} — {first.clause}"
    return f"{quantities}, {first.rule}, {first.cause}{over} — {first.clause}"


def prepare_folder(settings: DemoSettings, scenario: Scenario) -> DataFolder:
    """Make the data folder with registry and credentials.

    A default folder that an earlier demo made is set aside first (one is kept); a folder given by hand is gone on with.
    """
    root = settings.data_dir
    if root.exists() and not settings.keep:
        if not (root / _MARK).exists():
            raise DemoError(f"{root} exists and was not made by a demo: give a folder with --data-dir")
        previous = root.with_name(f"{root.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        root.rename(previous)
    folder = DataFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / _MARK).touch()
    folder.registry.write_text(scenario.registry_text, encoding="utf-8")
    known = folder.read_credentials() if folder.credentials.exists() else Credentials({}, {})
    registry = folder.read_registry()

    def credential(name: str, old: Credential | None) -> Credential:
        password = secrets.token_urlsafe(18) if old is None else old.password
        return Credential(username=name, password=password, host=_LOOPBACK, port=settings.broker_port)

    credentials = Credentials(
        gateways={name: credential(name, known.gateways.get(name)) for name in registry.gateways},
        services={"ingest": credential("poolwatch-ingest", known.services.get("ingest"))},
    )
    folder.credentials.touch(mode=0o600)
    folder.credentials.write_text(render_credentials(credentials), encoding="utf-8")
    return folder


def demo_children(folder: DataFolder, settings: DemoSettings, start_ms: int) -> list[Child]:
    """The services in the order in which they are started."""

    def child(name: str, *more: str) -> Child:
        arguments = (name, "--data-dir", str(folder.root), *more)
        return Child(name, arguments, folder.logs / f"{name}.log")

    def storing(name: str, *more: str) -> Child:
        store = settings.store_of(folder, name)
        return child(name, *more, *(() if store is None else ("--store", store)))

    return [
        child("broker", "--port", str(settings.broker_port)),
        storing("ingest"),
        storing("analytics"),
        storing("dashboards", "--port", str(settings.port)),
        child(
            "simulate",
            *("--scenario", settings.scenario, "--pools", str(settings.pools)),
            *("--seed", str(settings.seed), "--start-ms", str(start_ms)),
        ),
    ]


def wait_until_ready(supervisor: Supervisor, url: str) -> None:
    """Return when the pages answer that they are ready; DemoError after a while."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        supervisor.restart_dead()
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1) as answer:  # noqa: S310 - our own loopback address
                if answer.status == 200:  # noqa: PLR2004 - HTTP's OK
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise DemoError(
        f"the pages did not become ready within {_READY_WITHIN_S:.0f} s; look into the logs folder"
    )


def _greet(console: Console, folder: DataFolder, settings: DemoSettings) -> None:
    guest = folder.read_credentials().gateways["gw-guest"]
    url = f"http://{_LOOPBACK}:{settings.port}"
    readings = ", ".join(
        rf"{{\"sensor_id\": \"{sensor}\", \"quantity\": \"{quantity}\", \"measured_at\": \"$NOW\", "
        rf"\"value\": {value}}}"
        for sensor, quantity, value in (
            ("fc-1", "free_chlorine_mg_l", 0.52),
            ("ph-1", "ph", 7.3),
            ("t-1", "water_temp_c", 27.1),
        )
    )
    console.print(f"\n[bold]Open {url}/[/]  (a screen: {url}/display/guest-pool)")
    console.print("Publish for guest-pool with your own hardware, by the credentials in", end=" ")
    console.print(f"{folder.credentials}, or paste this line into another terminal:\n", highlight=False)
    line = (
        f"NOW=$(date -u +%Y-%m-%dT%H:%M:%SZ); mosquitto_pub -h {guest.host} -p {guest.port} -i gw-guest "
        f"-u {guest.username} -P '{guest.password}' -q 1 -t pools/guest-pool/gateways/gw-guest/readings "
        f'-m "{{\\"schema\\": 1, \\"gateway_id\\": \\"gw-guest\\", \\"boot_id\\": \\"hand-$(date +%s)\\", \\"seq\\": 0, '
        f'\\"readings\\": [{readings}]}}"'
    )
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"\nA test by hand: [bold]poolwatch test --data-dir {folder.root} --pool guest-pool --fc 0.5 --ph 7.3 --temp 27 "
        f"--by Li[/]  (in this checkout: .venv/bin/poolwatch)\nCtrl-C ends everything and prints the account.\n",
        highlight=False,
        soft_wrap=True,
    )


def _new_verdicts(store: Store, cursor: str | None) -> tuple[list[Verdict], str | None]:
    try:
        rows, after = store.verdicts_after(cursor)
    except StoreUnavailableError:
        return [], cursor
    return [decode_verdict(row.body) for row in rows], after


def _settle(folder: DataFolder, store: Store) -> None:
    """Wait until what was sent is stored and judged, as far as it will be."""
    deadline = time.monotonic() + _SETTLE_WITHIN_S
    while time.monotonic() < deadline:
        if not _under_way(folder, store):
            return
        time.sleep(0.2)


def _under_way(folder: DataFolder, store: Store) -> bool:
    """Whether something is in an outbox, in the journal and not in the store, or not judged yet."""
    if any(outbox.messages_pending for outbox in folder.outboxes().values()):
        return True
    return read_account(folder.journal).total.in_flight_messages > 0 or store.readings_waiting() > 0


def run_demo(settings: DemoSettings) -> int:
    """Run the demo until Ctrl-C or its duration's end; returns 0, or 1 when the account has a hole."""
    console = Console()
    start_ms = system_clock_ms()
    scenario = build_scenario("demo", pools=settings.pools, seed=settings.seed, start_ms=start_ms)
    folder = prepare_folder(settings, scenario)
    stop = stop_on_signals()
    supervisor = Supervisor()
    url = f"http://{_LOOPBACK}:{settings.port}"
    narrator = _Narrator(console, folder.read_registry(), start_ms)
    try:
        from ingest.broker import EMBEDDED_BROKER_NOTICE, IOTCORE, broker_name

        console.print(
            f"[bold]poolwatch demo[/]  {settings.pools} pools, broker {broker_name()}, "
            f"store {'InfluxDB' if settings.store == 'influx' else 'SQLite'}, data in {folder.root}"
        )
        if broker_name() == IOTCORE:
            console.print(f"[yellow]{EMBEDDED_BROKER_NOTICE}[/]")
        if settings.store == "influx":
            start_influx(folder, supervisor)
        for child in demo_children(folder, settings, start_ms):
            supervisor.start(child)
        wait_until_ready(supervisor, url)
        _greet(console, folder, settings)
        store = open_store(folder.store_url(settings.store_of(folder, "account")))
        try:
            _follow(scenario, supervisor, narrator, store, settings, stop)
            narrator.say("ending: gateways first, then what they sent is stored, judged and published")
            supervisor.stop("simulate", grace_s=15)
            _settle(folder, store)
        finally:
            for name in reversed([name for name in supervisor.children if name != "influxd"]):
                supervisor.stop(name)
            account = take_account(folder.journals(), store, outboxes=folder.outboxes())
            store.close()
        print_account(console, account)
        return 1 if account.holes else 0
    finally:
        supervisor.stop_all()


def _follow(
    scenario: Scenario,
    supervisor: Supervisor,
    narrator: _Narrator,
    store: Store,
    settings: DemoSettings,
    stop: threading.Event,
) -> None:
    """Tell what happens until the end of the demo."""
    cursor: str | None = None
    told: set[Fault] = set()
    while not stop.is_set():
        elapsed_s = (system_clock_ms() - narrator.start_ms) / 1000
        if settings.duration_s is not None and elapsed_s >= settings.duration_s:
            return
        active = set(scenario.active_faults(elapsed_s))
        for fault in sorted(active - told, key=lambda fault: fault.start_s):
            narrator.fault_began(fault)
        for fault in sorted(told - active, key=lambda fault: fault.end_s):
            narrator.fault_ended(fault)
        told = active
        verdicts, cursor = _new_verdicts(store, cursor)
        narrator.verdicts(verdicts)
        for name, code in supervisor.restart_dead():
            narrator.say(f"[yellow]{name} ended with code {code}; started again[/]")
        stop.wait(_LOOK_EVERY_S)
