"""Taking values out of a profile's tables, in the way of the registry's: what is wrong becomes a mistake with its line."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

from gateway.contract.registry_tables import Mistakes, Table, nearest, toml_type
from gateway.contract.toml_lines import Place

_Choice = TypeVar("_Choice", bound=StrEnum)


class ProfileTable(Table):
    """A table of a profile. What the methods cannot use they report, and give None for it."""

    def __init__(self, mistakes: Mistakes, place: Place, content: object) -> None:
        super().__init__(mistakes, place, content)
        self._mistaken = False

    @property
    def mistaken(self) -> bool:
        """Whether anything of this table was reported."""
        return self._mistaken or not isinstance(self.content, dict)

    def report(self, key: str, text: str, *, inner: Place = ()) -> None:
        """Note what is wrong with a key's value, or within it."""
        self._mistaken = True
        super().report(key, text, inner=inner)

    def report_table(self, text: str) -> None:
        """Note what is wrong with the table as a whole."""
        self._mistaken = True
        self.mistakes.report(self.place, text)

    def take(self, key: str, kinds: tuple[type, ...], *, needed: bool = False) -> Any:
        """Value of exactly one of some types."""
        if needed and key not in self.content:
            self._mistaken = True
        return super().take(key, kinds, needed=needed)

    def take_words(self, key: str) -> str:
        """Text of any length that is not blank; needed. Empty if it is wrong."""
        found: str | None = self.take(key, (str,), needed=True)
        if found is not None and not found.strip():
            self.report(key, "is empty")
        return found or ""

    def take_flag(self, key: str, *, default: bool | None = None) -> bool:
        """True or false; needed unless there is a default."""
        found: bool | None = self.take(key, (bool,), needed=default is None)
        return bool(default) if found is None else found

    def take_number(
        self, key: str, *, low: float | None = None, above: float | None = None, needed: bool = False
    ) -> float | None:
        """Finite number, `low` or more, or more than `above`."""
        found: float | None = self.take(key, (float, int), needed=needed)
        if found is None:
            return None
        if not math.isfinite(found):
            self.report(key, f"is {found}, it must be a finite number")
        elif low is not None and found < low:
            self.report(key, f"is {found}, it must be {low:g} or more")
        elif above is not None and found <= above:
            self.report(key, f"is {found}, it must be above {above:g}")
        else:
            return float(found)
        return None

    def take_choices(
        self, key: str, choices: type[_Choice], *, default: Iterable[_Choice] | None = None
    ) -> tuple[_Choice, ...]:
        """Members of an enumeration, as a list; needed unless there is a default."""
        found: list[object] | None = self.take(key, (list,), needed=default is None)
        if found is None:
            return tuple(default or ())
        members = []
        for position, word in enumerate(found):
            if not isinstance(word, str):
                self.report(key, f"has {toml_type(word)}, it must have texts", inner=(position,))
            elif word not in list(choices):
                known = ", ".join(choices)
                self.report(
                    key, f"{word!r} is not known{nearest(word, choices)}; known: {known}", inner=(position,)
                )
            else:
                members.append(choices(word))
        return tuple(members)

    def take_list(self, key: str) -> list["ProfileTable"]:
        """Tables of a list, ``[[key]]``; none if it is absent."""
        found: list[object] | None = self.take(key, (list,))
        return [
            ProfileTable(self.mistakes, (*self.place, key, number), content)
            for number, content in enumerate(found or [])
        ]

    def take_table(self, key: str, *, needed: bool = False) -> "ProfileTable":
        """A table, ``[key]``; an empty one if it is absent."""
        found: dict[str, object] | None = self.take(key, (dict,), needed=needed)
        return ProfileTable(self.mistakes, (*self.place, key), found or {})
