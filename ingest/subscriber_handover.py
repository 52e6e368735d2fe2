"""How a session that is being retired is known to be empty. Pure."""

#: A broker is asked only when it has handed over nothing for so long. [s]
QUIET_S = 1.0


class Handover:
    """What one connection has brought, and what of it is settled.

    A broker answers in the order in which it is asked. So the question is put when all that came has been acknowledged,
    and if its answer comes with no message before it, the broker holds nothing. Silence alone would say nothing: a broker
    may be slow.

    Parameters
    ----------
    now_s : float
        When the connection was accepted, by a monotonic clock, as all times here. [s]
    """

    def __init__(self, now_s: float) -> None:
        self._received = 0
        self._settled = 0
        self._last_s = now_s
        # The first question is put with the connection.
        self._questions = 1
        self._received_when_asked = -1

    def receive(self, messages: int, now_s: float) -> None:
        """Note messages that were read off the network."""
        self._received += messages
        self._last_s = now_s

    def settle(self, messages: int) -> None:
        """Note messages of this connection that are in the journal and acknowledged."""
        self._settled += messages

    def ask(self, *, answers: int, now_s: float) -> bool:
        """Whether to ask the broker again now, which is noted then; `answers`: how many have come."""
        if (
            answers < self._questions
            or self._settled < self._received
            or self._received_when_asked == self._received
            or now_s - self._last_s < QUIET_S
        ):
            return False
        self._questions += 1
        self._received_when_asked = self._received
        return True

    def is_complete(self, *, answers: int) -> bool:
        """Whether the broker holds nothing any more."""
        return answers >= self._questions and self._received_when_asked == self._received
