"""A real InfluxDB for tests: named by POOLWATCH_INFLUXD or on PATH, on loopback, killed and started again at will."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient

ORG = "testers"
OPERATOR_TOKEN = "operator-token-of-tests"


def influxd_program() -> str:
    """The server's program; the test is skipped, with the reason, where there is none."""
    program = os.environ.get("POOLWATCH_INFLUXD") or shutil.which("influxd")
    if program is None:
        pytest.skip(
            "influxd is not here: name an InfluxDB 2.7 server in POOLWATCH_INFLUXD, or put it on PATH"
        )
    return program


class InfluxServer:
    """A real influxd on loopback with a folder of its own; may be killed and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def launch(self) -> None:
        """Begin to run, without waiting until it answers."""
        arguments = [
            self._program,
            "run",
            f"--engine-path={self._folder / 'engine'}",
            f"--bolt-path={self._folder / 'influxd.bolt'}",
            f"--sqlite-path={self._folder / 'influxd.sqlite'}",
            f"--http-bind-address=127.0.0.1:{self._port}",
            "--reporting-disabled",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)

    def start(self) -> None:
        """Begin to run, and wait until it answers."""
        self.launch()
        assert self._process is not None
        deadline = time.monotonic() + 60
        with InfluxDBClient(self.url, token="", timeout=1_000) as client:
            while not client.ping():
                assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "influxd did not answer within 60 s"
                time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def set_up(self) -> None:
        """Give a fresh server its first user, organisation and token."""
        with InfluxDBClient(self.url, token="") as client:
            from influxdb_client import OnboardingRequest
            from influxdb_client.service.setup_service import SetupService

            request = OnboardingRequest(
                username="operator",
                password="password-of-tests",
                org=ORG,
                bucket="first",
                token=OPERATOR_TOKEN,
            )
            SetupService(client.api_client).post_setup(request)
