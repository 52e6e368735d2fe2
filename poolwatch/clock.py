"""The one place where the machine's clock is read; everything else takes a `Clock`."""

import signal
import threading
import time
from types import FrameType


def system_clock_ms() -> int:
    """Milliseconds since the epoch, by this machine."""
    return time.time_ns() // 1_000_000


def stop_on_signals() -> threading.Event:
    """Event that is set by SIGTERM and SIGINT (Ctrl-C), so that a service ends its loop cleanly."""
    stop = threading.Event()

    def ask_to_stop(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    return stop
