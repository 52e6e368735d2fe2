"""How a service declares what it counts: fields of a dataclass, each with the sentence that operators read."""

from dataclasses import field
from typing import Any


def counted(text: str, *, start: float = 0, **more: str) -> Any:
    """Field of a dataclass of counts: `start` at first, with its `help`, and `kind="gauge"` if it is no counter."""
    return field(default=start, metadata={"help": text, **more})
