"""What operators watch of ingest's connection to the broker. Pure."""

from typing import NamedTuple


class SubscriberFigures(NamedTuple):
    """Messages read off the network that nobody took yet, receipts that the broker has not confirmed, connections."""

    held_messages: int = 0
    unconfirmed_receipts: int = 0
    attempts: int = 0
    connections: int = 0
