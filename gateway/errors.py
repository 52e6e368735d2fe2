"""What a gateway can fail at. `GatewayError` is the base; each says what was wrong, where, and what to do."""


class GatewayError(Exception):
    """Base of the gateway's errors."""


class OutboxError(GatewayError):
    """The outbox cannot be used: held by another process, damaged, or its disk is full."""


class SensorError(GatewayError):
    """An instrument did not answer, or answered nonsense; retried at its next turn."""


class InputError(GatewayError):
    """Something that a person or a file gave is not usable; permanent until it is changed."""
