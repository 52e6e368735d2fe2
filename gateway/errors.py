"""What a gateway can fail at. `GatewayError` is the base; each says what was wrong, where, and what to do."""

from collections.abc import Sequence

from gateway.contract.quantities import Quantity


class GatewayError(Exception):
    """Base of the gateway's errors."""


class OutboxError(GatewayError):
    """The outbox cannot be used: damaged, not writable, or its disk is full."""


class OutboxHeldError(OutboxError):
    """Another process has the outbox open; it may be free later."""


class SensorError(GatewayError):
    """An instrument did not answer, or answered nonsense; retried at its next turn.

    Parameters
    ----------
    text : str
        What is wrong with which instrument.
    silent : sequence of (sensor_id, Quantity)
        What a reading without value and with status `no_communication` is to be recorded for.
    """

    def __init__(self, text: str, *, silent: Sequence[tuple[str, Quantity]] = ()) -> None:
        super().__init__(text)
        self.silent = tuple(silent)


class InputError(GatewayError):
    """Something that a person or a file gave is not usable; permanent until it is changed."""
