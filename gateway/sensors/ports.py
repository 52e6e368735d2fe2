"""Where instruments enter, real or simulated: one method that reads, and how often to call it."""

from typing import Protocol

from gateway.contract.readings import Reading


class SensorPort(Protocol):
    """One instrument at one pool. It may measure several quantities."""

    @property
    def pool_id(self) -> str:
        """Pool whose water it measures."""
        ...

    @property
    def interval_s(self) -> float:
        """How often to read it. [s]"""
        ...

    def read(self, now_ms: int) -> list[Reading]:
        """Readings at `now_ms`; empty when the instrument has nothing to say.

        Raises
        ------
        SensorError
            If it cannot be read; it is tried again at its next turn. `SensorError(…, silent=…)` names what is
            recorded as `no_communication`.
        """
        ...
