"""A deployment of real processes to do harm to: broker, ingest, gateways; and what each fault test asks at its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from gateway.contract.credentials import Credential, Credentials, render_credentials
from gateway.contract.times import parse_timestamp
from gateway.outbox import read_account as read_outbox
from ingest.broker import MOSQUITTO, broker_name
from ingest.store.opening import open_store
from ingest.store.ports import Store
from poolwatch.folder import DataFolder
from poolwatch.reconcile import Account, take_account

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
#: Processes of one's own that write are waited for this long; a machine under load needs it. [s]
_PATIENCE_S = 60.0


class Sent(NamedTuple):
    """A reading that a gateway sent."""

    pool_id: str
    sensor_id: str
    quantity: str
    measured_at_ms: int
    value: float


def until(condition: Callable[[], bool], what: str, *, within_s: float = _PATIENCE_S) -> None:
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


class Bench:
    """Processes by name: `broker`, `ingest`, and each gateway by its id."""

    def __init__(self, root: Path, gateways: Sequence[str] = ("g1",)) -> None:
        self.folder = DataFolder(root)
        self.port, self.monitor_port = free_port(), free_port()
        self.gateways = tuple(gateways)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
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

    # Processes.

    def log_of(self, name: str) -> str:
        """What a process and those of its name before it said."""
        path = self.folder.root / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _start(self, name: str, *command: str) -> None:
        assert name not in self._running, f"{name} runs already"
        with (self.folder.root / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start_broker(self) -> None:
        """Begin to run the broker."""
        self._start(
            "broker", *self._command("broker", "--data-dir", str(self.folder.root), "--port", str(self.port))
        )

    def start_ingest(self) -> None:
        """Begin to run ingest."""
        monitor = ("--monitor-port", str(self.monitor_port))
        self._start("ingest", *self._command("ingest", "--data-dir", str(self.folder.root), *monitor))

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
            "password": self.credential(gateway_id).password,
            "port": self.port,
            "interval_s": interval_s,
            "grid_ms": grid_ms,
            "resend_after_s": resend_after_s,
        }
        self._start(gateway_id, str(_SCRIPT), json.dumps(given))

    def place_of(self, gateway_id: str) -> Path:
        """Folder of a gateway's outbox, and of the files that steer it."""
        return self.folder.outbox(gateway_id).parent

    def start(self, name: str) -> None:
        """Begin to run a process by its name."""
        if name == "broker":
            self.start_broker()
        elif name == "ingest":
            self.start_ingest()
        else:
            self.start_gateway(name)

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, at once, and with it the server that it runs."""
        process = self._running.pop(name)
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()
        psutil.wait_procs(children, timeout=10)

    def stop(self, name: str) -> int:
        """End a process in order; returns its exit code."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def exit_code(self, name: str) -> int:
        """Exit code of a process that ends by itself."""
        code = self._running[name].wait(_PATIENCE_S)
        del self._running[name]
        return code

    def close(self) -> None:
        """Kill whatever still runs."""
        for name in list(self._running):
            self.kill(name)

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
            timeout=_PATIENCE_S,
            env=os.environ | {"COLUMNS": "1000"},  # no sentence is broken over lines
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
        return open_store(self.folder.store_url(None))

    def payloads(self, gateway_id: str) -> list[dict[str, Any]]:
        """Each message that a gateway process sent, once, in the order of their first sending."""
        found: dict[tuple[str, int], bytes] = {}
        path = self.place_of(gateway_id) / "sent"
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            message = json.loads(line)
            assert found.setdefault((message["boot_id"], message["seq"]), line) == line
        return [json.loads(line) for line in found.values()]

    def sent(self, gateway_id: str) -> list[Sent]:
        """Each reading that a gateway process sent, once for each message that it came in."""
        return [
            sent_reading(pool_of(gateway_id), one)
            for message in self.payloads(gateway_id)
            for one in message["readings"]
        ]

    def stored(self) -> list[Sent]:
        """Every reading in the store, as the store itself answers."""
        with closing(self.open_store()) as store:
            return [
                Sent(pool_of(one), series.sensor_id, series.quantity, int(at_ms), float(value))
                for one in self.gateways
                for series, columns in store.readings(pool_of(one), from_ms=0, to_ms=2**52).items()
                for at_ms, value in zip(columns.measured_at_ms, columns.value, strict=True)
            ]

    def account(self) -> Account:
        """The account of journal and store."""
        with closing(self.open_store()) as store:
            return take_account(self.folder.journals(), store)

    # The end of a test.

    def settle(self) -> None:
        """Have every gateway send what it has, and ingest store it; gateways and ingest end in order."""
        self.until_ready()
        gateways = [name for name in self._running if name not in {"broker", "ingest"}]
        for name in gateways:
            # What died in silence is sent again at the next receipt: there must still be one to come.
            until(lambda name=name: self._dead(name) == 0, f"{name} revives")  # type: ignore[misc]
            (self.place_of(name) / "hush").touch()
            until(lambda name=name: self._kept(name) == 0, f"{name} has a receipt for all")  # type: ignore[misc]
            assert self.stop(name) == 0, self.log_of(name)[-2000:]
        assert self.stop("ingest") == 0, self.log_of("ingest")[-2000:]

    def _kept(self, name: str) -> int:
        outbox = read_outbox(self.folder.outbox(name))
        return outbox.messages_pending + outbox.messages_dead

    def _dead(self, name: str) -> int:
        return read_outbox(self.folder.outbox(name)).messages_dead

    def assert_whole(self, expected: Iterable[Sent]) -> Account:
        """Ask the store for exactly these readings, each once, and the account and the chain to close."""
        stored, wanted = Counter(self.stored()), Counter(expected)
        assert wanted
        assert max(wanted.values()) == 1
        assert wanted - stored == Counter()
        assert stored - wanted == Counter()
        for command in (("reconcile",), ("journal", "verify")):
            done = self.run(*command)
            assert done.returncode == 0, done.stdout + done.stderr
        account = self.account()
        assert account.stored == len(stored)
        assert sum(line.tally.in_flight_readings for line in account.lines) == 0
        return account


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
