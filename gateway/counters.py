"""What a gateway counts while it runs. Plain numbers, written by its own thread; their `help` is what operators read."""

from dataclasses import dataclass

from gateway.contract.counting import counted


@dataclass(slots=True)
class GatewayCounters:
    """What was sent and what went wrong here, since the start of the process."""

    sent: int = counted("Messages handed to the broker, those that were sent again too.")
    resent: int = counted(
        "Messages to be sent again: no receipt came in time, or the connection was lost before the broker took them."
    )
    receipts: int = counted("Receipts of ingest that came.")
    connections: int = counted("Connections that the broker accepted.")
    dead_letters: int = counted("Messages given up: the broker took them five times and no receipt came.")
    revived: int = counted("Messages given up that are sent again, because ingest is back.")
    sensor_errors: int = counted("Readings of a sensor that failed.")
    kept_errors: int = counted("Rounds in which the outbox took nothing; readings wait in memory.")
    unkept_readings: int = counted("Readings given up because the disk was full for too long.")
    loop_errors: int = counted("Rounds that failed in a way that nobody foresaw; each is in the log.")
