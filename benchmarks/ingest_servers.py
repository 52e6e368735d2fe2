"""The servers and programs that are measured: started on free ports, watched by pid, and never left behind."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from ingest.broker import BrokerFiles

_LOOPBACK = "127.0.0.1"
_READY_WITHIN_S = 60.0
_END_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05
_WRITTEN = re.compile(r"^storage_shard_write_sum\{[^}]*\} (\S+)", re.MULTILINE)
_MOSQUITTO_PATH = "/usr/sbin:/usr/local/sbin"
#: What Mosquitto logs when a queue is full.
_DROPPED = "being dropped"


def find_program(name: str, given: str | None, variable: str) -> str | None:
    """A program's path: as given, else by an environment variable, else on PATH; None if it is nowhere."""
    wanted = given or os.environ.get(variable) or name
    return shutil.which(wanted, path=f"{os.environ.get('PATH', os.defpath)}:{_MOSQUITTO_PATH}")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Program:
    """A child process, which the kernel kills if the benchmark is killed."""

    def __init__(
        self, arguments: Sequence[str], *, log: Path, environment: dict[str, str] | None = None
    ) -> None:
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [*tied, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        self.arguments = list(arguments)
        self.log = log
        self.started_s = time.monotonic()
        self._watched = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def check(self) -> None:
        """Raise RuntimeError with the end of its log if it has ended."""
        code = self._process.poll()
        if code is not None:
            said = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{self._process.args!r} ended with {code}:\n{said}")

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of the process and its children so far."""
        total = 0.0
        with suppress(psutil.Error):
            own = self._watched.cpu_times()
            total = own.user + own.system + own.children_user + own.children_system
            for child in self._watched.children(recursive=True):
                with suppress(psutil.Error):
                    total += sum(child.cpu_times()[:2])
        return total

    def rss_mib(self) -> float:
        """Memory in use now, with children."""
        with suppress(psutil.Error):
            family = [self._watched, *self._watched.children(recursive=True)]
            return sum(float(one.memory_info().rss) for one in family) / 2**20
        return 0.0

    def peak_mib(self) -> float:
        """The most memory that the process and its present children ever had, added up."""
        total_kib = 0
        with suppress(psutil.Error):
            for one in (self._watched, *self._watched.children(recursive=True)):
                with suppress(OSError):
                    status = Path(f"/proc/{one.pid}/status").read_text(encoding="utf-8")
                    found = re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)
                    total_kib += int(found[1]) if found else 0
        return total_kib / 1024

    def stop(self) -> None:
        """Ask it to end, and wait; kill it if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def start_broker(program: str, files: BrokerFiles) -> Program:
    """Mosquitto with files of ours, listening."""
    broker = Program([program, "-c", str(files.mosquitto_conf)], log=files.folder / "mosquitto.log")
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        broker.check()
        with suppress(OSError), socket.create_connection((files.host, files.port), timeout=1):
            return broker
        time.sleep(_LOOK_EVERY_S)
    raise RuntimeError(f"Mosquitto does not listen after {_READY_WITHIN_S:.0f} s")


def broker_dropped(log: Path) -> bool:
    """Whether the broker says that it dropped messages."""
    return _DROPPED in log.read_text(encoding="utf-8", errors="replace")


class InfluxServer:
    """An InfluxDB 2 server with a user and a token of its own."""

    org = "poolwatch"

    def __init__(self, program: str, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._binary = program
        self._port = free_port()
        self.url = f"http://{_LOOPBACK}:{self._port}"
        self.token = secrets.token_urlsafe(24)
        self.program = self._start()
        self._ask_setup()

    def _start(self) -> Program:
        program = Program(
            [
                self._binary,
                *("--bolt-path", str(self._root / "influxd.bolt")),
                *("--sqlite-path", str(self._root / "influxd.sqlite")),
                *("--engine-path", str(self._root / "engine")),
                *("--http-bind-address", f"{_LOOPBACK}:{self._port}"),
                *("--reporting-disabled", "--log-level", "error"),
            ],
            log=self._root / "influxd.log",
        )
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            program.check()
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=1).status_code == httpx.codes.OK:
                    return program
            time.sleep(_LOOK_EVERY_S)
        raise RuntimeError(f"InfluxDB does not answer after {_READY_WITHIN_S:.0f} s")

    def _ask_setup(self) -> None:
        wanted = {
            "username": "bench",
            "password": secrets.token_urlsafe(12),
            "token": self.token,
            "org": self.org,
            "bucket": "telegraf",
        }
        httpx.post(f"{self.url}/api/v2/setup", json=wanted, timeout=30).raise_for_status()

    def environment(self, source: Path) -> dict[str, str]:
        """Environment of a command that prepares this server."""
        return {
            **os.environ,
            "PYTHONPATH": str(source),
            "INFLUX_TOKEN": self.token,
            "POOLWATCH_INFLUX_TOKEN": self.token,
        }

    def stop(self) -> None:
        """Stop the server; its files stay."""
        self.program.stop()

    def start_again(self) -> None:
        """Start it again on the same port and files."""
        self.program = self._start()

    def points(self) -> float:
        """Points written since the server's start, of all buckets: its own count, which costs it next to nothing."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        return sum(float(found) for found in _WRITTEN.findall(text))

    def count(self, *, bucket: str, fields: Sequence[str]) -> int:
        """Values of some fields of the measurement `reading`, counted by the server from what it holds."""
        named = " or ".join(f'r._field == "{name}"' for name in fields)
        flux = (
            f'from(bucket: "{bucket}") |> range(start: 2000-01-01T00:00:00Z, stop: 2100-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "reading" and ({named}))'
            " |> count() |> group() |> sum()"
        )
        answer = httpx.post(
            f"{self.url}/api/v2/query",
            params={"org": self.org},
            headers={
                "Authorization": f"Token {self.token}",
                "Content-Type": "application/vnd.flux",
                "Accept": "application/csv",
            },
            content=flux,
            timeout=120,
        )
        answer.raise_for_status()
        rows = [line.split(",") for line in answer.text.split() if line]
        if not rows:
            return 0
        return int(rows[1][rows[0].index("_value")])
