"""How the last `poolwatch reconcile` ended, kept in the data folder for ingest's metrics."""

from contextlib import suppress
from pathlib import Path

import msgspec


class Reconciled(msgspec.Struct, frozen=True):
    """Outcome of one run. `at_ms` is 0 before the first; `day`: the one that was looked at, None: all of them."""

    at_ms: int = 0
    day: str | None = None
    checked_readings: int = 0
    found_readings: int = 0
    holes: int = 0


def write_reconciled(path: Path, outcome: Reconciled) -> None:
    """Keep an outcome; OSError if that cannot be."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(msgspec.json.encode(outcome))
    fresh.replace(path)


def read_reconciled(path: Path) -> Reconciled:
    """The last outcome; that of no run where there is none, or none that can be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Reconciled)
    return Reconciled()
