"""Processes of a fault test by name: started, killed at any moment, ended in order; each with its log."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

#: Processes of one's own that write are waited for this long; a machine under load needs it. [s]
PATIENCE_S = 60.0


class Processes:
    """Python processes with names of their own. `logs` is the folder of what they say."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def log_of(self, name: str) -> str:
        """What a process and those of its name before it said."""
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def launch(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Begin to run a Python program."""
        assert name not in self.running, f"{name} runs already"
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | dict(environment or {}),
            )

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, at once, and with it the server that it runs."""
        process = self.running.pop(name)
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
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def exit_code(self, name: str) -> int:
        """Exit code of a process that ends by itself."""
        code = self.running[name].wait(PATIENCE_S)
        del self.running[name]
        return code

    def close(self) -> None:
        """Kill whatever still runs."""
        for name in list(self.running):
            self.kill(name)
