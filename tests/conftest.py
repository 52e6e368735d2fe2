"""Real servers for the tests: each on loopback, with a fresh folder, ended by the id it was started with."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from gateway.contract.credentials import Credential

PASSWORD = "test-password"

# Without configuration structlog draws tracebacks with every local variable: seconds on a busy machine.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class MosquittoBroker:
    """A Mosquitto that any user may enter, for tests of one side of the wire."""

    program: str
    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    extra: list[str] = field(default_factory=list)

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 500\n"
            f"max_queued_messages 0\n{user}" + "\n".join(self.extra)
        )
        self.process = subprocess.Popen([self.program, "-c", str(config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail("mosquitto did not listen within 10 s")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def credential(self, name: str) -> Credential:
        return Credential(username=name, password=PASSWORD, host="127.0.0.1", port=self.port)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    """A running Mosquitto; skips where it is not installed."""
    program = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if program is None:
        pytest.skip("mosquitto is not installed (Debian: mosquitto)")
    folder = tmp_path / "broker"
    folder.mkdir()
    running = MosquittoBroker(program, folder, free_port())
    running.start()
    yield running
    running.kill()
