"""A deployment of real processes to do harm to: broker, ingest, gateways; and what each fault test asks at its end."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.credentials import Credential, Credentials, render_credentials
from gateway.contract.times import parse_timestamp
from gateway.outbox import read_account as read_outbox
from ingest.broker import MOSQUITTO, broker_name
from ingest.journal.account import read_account as read_journal
from ingest.journal.days import Days
from ingest.store.opening import open_store
from ingest.store.ports import Store
from ingest.store.records import ArrivalKind
from poolwatch.folder import DataFolder
from poolwatch.reconcile import Account, take_account
from tests.integration.fault_processes import PATIENCE_S, Processes
from tests.integration.fault_verdicts import Facts, Judged, Sent, assert_same_verdicts

needs_mosquitto = pytest.mark.skipif(
    broker_name() != MOSQUITTO, reason="mosquitto is not installed (Debian: mosquitto)"
)
_SCRIPT = Path(__file__).with_name("fault_gateway.py")
_HEAD = """schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
"""
_POOL = """[pools.{pool}]
venue = "hall"
name_zh = "池"
name_en = "Pool"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[[pools.{pool}.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
[gateways.{gateway}]
pools = ["{pool}"]
"""
_HOUR_MS = 3_600_000
#: Later than any reading of a test, and a time that InfluxDB knows.
_FOR_EVER_MS = 4_000_000_000_000


def until(condition: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition; the test fails if it does not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.02)


def pool_of(gateway_id: str) -> str:
    """Pool of a gateway of the bench."""
    return f"pool-of-{gateway_id}"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench(Processes):
    """Processes by name: `broker`, `ingest`, and each gateway by its id."""

    def __init__(self, root: Path, gateways: Sequence[str] = ("g1",)) -> None:
        super().__init__(root)
        self.folder = DataFolder(root)
        self.port, self.monitor_port = free_port(), free_port()
        self.gateways = tuple(gateways)
        self.judged: dict[str, Judged] = {}
        root.mkdir(exist_ok=True)
        text = _HEAD + "".join(_POOL.format(pool=pool_of(one), gateway=one) for one in gateways)
        self.folder.registry.write_text(text, encoding="utf-8")
        entries = {name: self.credential(name) for name in gateways}
        ingest = self.credential("poolwatch-ingest")
        self.folder.credentials.write_text(
            render_credentials(Credentials(entries, {"ingest": ingest})), encoding="utf-8"
        )

    def credential(self, name: str) -> Credential:
        """Credential of a user of the bench's broker."""
        return Credential(name, f"password of {name}", "127.0.0.1", self.port)

    def start_broker(self) -> None:
        """Begin to run the broker."""
        self.launch(
            "broker", *self._command("broker", "--data-dir", str(self.folder.root), "--port", str(self.port))
        )

    def start_ingest(self) -> None:
        """Begin to run ingest."""
        monitor = ("--monitor-port", str(self.monitor_port))
        self.launch(
            "ingest",
            *self._command("ingest", "--data-dir", str(self.folder.root), *monitor),
            environment=self.store_of("ingest"),
        )

    def start_gateway(
        self, gateway_id: str, *, interval_s: float = 0.02, grid_ms: int = 1, resend_after_s: float = 2.0
    ) -> None:
        """Begin to run a gateway with its outbox of before; its readings lie on a grid of instants."""
        place = self.place_of(gateway_id)
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "offset").exists():
            (place / "offset").write_text("0")
        given = {
            "gateway_id": gateway_id,
            "pool_id": pool_of(gateway_id),
            "place": str(place),
            "outbox": str(self.folder.outbox(gateway_id)),
            "password": self.credential(gateway_id).password,
            "port": self.port,
            "interval_s": interval_s,
            "grid_ms": grid_ms,
            "resend_after_s": resend_after_s,
        }
        self.launch(gateway_id, str(_SCRIPT), json.dumps(given))

    def place_of(self, gateway_id: str) -> Path:
        """Folder of the files that steer a gateway, and of its own notes; its outbox is elsewhere."""
        return self.folder.root / "steering" / gateway_id

    def store_of(self, service: str) -> dict[str, str]:
        """Environment that names the store to a service: none, for the one in the bench's folder."""
        return {}

    def start(self, name: str) -> None:
        """Begin to run a process by its name."""
        if name == "broker":
            self.start_broker()
        elif name == "ingest":
            self.start_ingest()
        else:
            self.start_gateway(name)

    @staticmethod
    def _command(*words: str) -> tuple[str, ...]:
        return ("-m", "poolwatch", *words)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of poolwatch on the bench's folder to its end."""
        return subprocess.run(
            [sys.executable, *self._command(*words), "--data-dir", str(self.folder.root)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env=os.environ
            | {"COLUMNS": "1000"}
            | self.store_of("account"),  # no sentence is broken over lines
        )

    # Looking.

    def readiness(self) -> tuple[int, str]:
        """HTTP status and text of ingest's /readyz; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until_ready(self) -> None:
        """Wait until ingest is connected and takes messages; a quarantine that grows is another matter."""

        def takes_messages() -> bool:
            status, text = self.readiness()
            is_held_up = "not connected" in text or "nothing is acknowledged" in text
            return status != 0 and not is_held_up

        until(takes_messages, f"ingest is ready; it says {self.log_of('ingest')[-1500:]}")

    def open_store(self) -> Store:
        """Open the store; for the caller to close."""
        return open_store(self.folder.store_url(self.store_of("account").get("POOLWATCH_STORE")))

    def payloads(self, gateway_id: str) -> list[dict[str, Any]]:
        """Each message that a gateway process sent, once, in the order of their first sending."""
        found: dict[tuple[str, int], bytes] = {}
        path = self.place_of(gateway_id) / "sent"
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            message = json.loads(line)
            assert found.setdefault((message["boot_id"], message["seq"]), line) == line
        return [json.loads(line) for line in found.values()]

    def measured(self, gateway_id: str) -> list[Sent]:
        """Each reading that a gateway's probe gave, kept or not."""
        path = self.place_of(gateway_id) / "measured"
        return [
            sent_reading(pool_of(gateway_id), json.loads(line)) for line in path.read_bytes().splitlines()
        ]

    def sent(self, gateway_id: str) -> list[Sent]:
        """Each reading that a gateway process sent, once for each message that it came in."""
        return [
            sent_reading(pool_of(gateway_id), one)
            for message in self.payloads(gateway_id)
            for one in message["readings"]
        ]

    def facts(self) -> dict[str, Facts]:
        """Every reading in the store by pool, as the store itself answers."""
        with closing(self.open_store()) as store:
            return {
                pool_of(one): store.readings(pool_of(one), from_ms=0, to_ms=_FOR_EVER_MS)
                for one in self.gateways
            }

    def stored(self) -> list[Sent]:
        """Every reading in the store, one by one."""
        return _readings(self.facts())

    def journalled(self) -> int:
        """How many messages the journal has."""
        with Days(self.folder.journal) as days:
            return days.head().message_id

    def taken(self) -> int:
        """How many messages of the journal the store has taken, or refused."""
        return read_journal(self.folder.journal).cursor

    def receipted(self, gateway_id: str) -> int:
        """How many messages of a gateway have their receipt."""
        outbox = read_outbox(self.folder.outbox(gateway_id))
        return outbox.messages_sent - outbox.messages_pending - outbox.messages_dead

    def account(self) -> Account:
        """The account of journal and store."""
        with closing(self.open_store()) as store:
            return take_account(self.folder.journals(), store)

    # The end of a test.

    def settle(self) -> None:
        """Have every gateway send what it has, and ingest store it; gateways and ingest end in order."""
        self.until_ready()
        gateways = [name for name in self.running if name in self.gateways]
        for name in gateways:
            # What died in silence is sent again at the next receipt: there must still be one to come.
            until(lambda name=name: self._dead(name) == 0, f"{name} revives")  # type: ignore[misc]
            (self.place_of(name) / "hush").touch()
            until(lambda name=name: self.pending(name) == 0, f"{name} has a receipt for all")  # type: ignore[misc]
            assert self.stop(name) == 0, self.log_of(name)[-2000:]
        # An attempt at a store that was away may lie some seconds ahead.
        until(lambda: self.taken() >= self.journalled(), "the store has all")
        assert self.stop("ingest") == 0, self.log_of("ingest")[-2000:]

    def pending(self, name: str) -> int:
        """How many messages a gateway keeps, for lack of a receipt."""
        outbox = read_outbox(self.folder.outbox(name))
        return outbox.messages_pending + outbox.messages_dead

    def _dead(self, name: str) -> int:
        return read_outbox(self.folder.outbox(name)).messages_dead

    def assert_whole(self, expected: Iterable[Sent]) -> Account:
        """Ask the store for exactly these readings, each once, and their verdicts; the account and the chain to close."""
        self.assert_verdicts(expected := list(expected))
        for command in (("reconcile",), ("journal", "verify")):
            done = self.run(*command)
            assert done.returncode == 0, done.stdout + done.stderr
        account = self.account()
        assert account.stored == len(expected)
        assert sum(line.tally.in_flight_readings for line in account.lines) == 0
        return account

    def assert_verdicts(self, expected: Sequence[Sent]) -> None:
        """Ask the store for exactly these readings, each once, for their verdicts, and that analytics is told of all."""
        facts = self.facts()
        stored, wanted = Counter(_readings(facts)), Counter(expected)
        assert wanted
        assert max(wanted.values()) == 1
        assert wanted - stored == Counter()
        assert stored - wanted == Counter()
        hours = {(one.pool_id, one.measured_at_ms // _HOUR_MS * _HOUR_MS) for one in expected}
        assert hours <= self._told()
        self.judged = assert_same_verdicts(self.folder.read_registry(), facts, expected)

    def _told(self) -> set[tuple[str, int]]:
        """Pools and hours of which arrivals of readings tell."""
        told: set[tuple[str, int]] = set()
        cursor = None
        with closing(self.open_store()) as store:
            while True:
                arrivals, cursor = store.arrivals_after(cursor)
                news = {(one.pool_id, one.hour_ms) for one in arrivals if one.kind is ArrivalKind.READINGS}
                if news <= told:
                    return told
                told |= news


def _readings(facts: dict[str, Facts]) -> list[Sent]:
    return [
        Sent(pool_id, series.sensor_id, series.quantity, int(at_ms), float(value))
        for pool_id, of_pool in facts.items()
        for series, columns in of_pool.items()
        for at_ms, value in zip(columns.measured_at_ms, columns.value, strict=True)
    ]


def sent_reading(pool_id: str, reading: dict[str, Any]) -> Sent:
    """A reading of a message, as the store gives it back."""
    return Sent(
        pool_id,
        reading["sensor_id"],
        reading["quantity"],
        parse_timestamp(reading["measured_at"]),
        reading["value"],
    )


def quarantined(account: Account) -> int:
    """How many readings of an account are in quarantine."""
    return sum(line.tally.quarantined_readings for line in account.lines)


def came_again(account: Account) -> int:
    """How many messages of an account were delivered again after the first time."""
    return sum(line.tally.duplicate_messages for line in account.lines)
