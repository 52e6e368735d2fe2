"""Child processes of the demo: started in order, watched, started again when they die, ended by their own id."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: A child that dies within this many seconds of its start is not healthy: it is not started again at once.
_YOUNG_S = 2.0
#: How often a child may die young, one start after the other, before the demo gives up on it.
_MOST_EARLY_DEATHS = 3


class ChildFailedError(Exception):
    """A service that cannot be kept running; carries the end of what it said."""


@dataclass(slots=True)
class Child:
    """One service as a process of its own; its output goes to a log file."""

    name: str
    arguments: Sequence[str]
    log_path: Path
    #: What is run; poolwatch unless it is another program.
    program: Sequence[str] = (sys.executable, "-m", "poolwatch")
    process: "subprocess.Popen[bytes] | None" = None
    started_at_s: float = 0.0
    early_deaths: int = 0

    def start(self) -> None:
        """Start the process; its group is its own, so that Ctrl-C reaches only the demo, which ends it in order."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started_at_s = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self.process is None else self.process.poll()

    def stop(self, *, grace_s: float) -> None:
        """Ask it to end, and end it if it does not within `grace_s`."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@dataclass(slots=True)
class Supervisor:
    """The children, in the order in which they were started; they are stopped in the opposite order."""

    children: dict[str, Child] = field(default_factory=dict)

    def start(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        self.children[child.name] = child

    def restart_dead(self) -> list[tuple[str, int]]:
        """Start again what has died; returns names and exit codes.

        Raises
        ------
        ChildFailedError
            If a child has died young several times, one start after the other.
        """
        restarted = []
        for child in self.children.values():
            code = child.exit_code
            if code is None:
                continue
            young = time.monotonic() - child.started_at_s < _YOUNG_S
            child.early_deaths = child.early_deaths + 1 if young else 0
            if child.early_deaths >= _MOST_EARLY_DEATHS:
                raise ChildFailedError(
                    f"{child.name} cannot be kept running (exit code {code}); its log is {child.log_path}:\n"
                    f"{child.last_words()}"
                )
            child.start()
            restarted.append((child.name, code))
        return restarted

    def stop(self, name: str, *, grace_s: float = 10.0) -> None:
        """End one child and watch it no longer."""
        child = self.children.pop(name, None)
        if child is not None:
            child.stop(grace_s=grace_s)

    def stop_all(self, *, grace_s: float = 10.0) -> None:
        """End all, the last started first."""
        for name in reversed(list(self.children)):
            self.stop(name, grace_s=grace_s)
