"""How a service declares what it counts: fields of a dataclass, each with the sentence that operators read."""

from collections.abc import Sequence
from dataclasses import field, fields
from typing import Any, TypeVar

_Counts = TypeVar("_Counts")


def counted(text: str, *, start: float = 0, **more: str) -> Any:
    """Field of a dataclass of counts: `start` at first, with its `help`, and `kind="gauge"` if it is no counter."""
    return field(default=start, metadata={"help": text, **more})


def added(kind: type[_Counts], counts: Sequence[_Counts]) -> _Counts:
    """Counts of several as one, field by field; those of nobody are 0."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # a dataclass cannot be asked for as a bound
    return kind(**{name: sum(getattr(one, name) for one in counts) for name in names})
