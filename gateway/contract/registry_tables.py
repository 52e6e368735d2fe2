"""Taking values out of a registry file's tables: what is missing, wrong or left over becomes a mistake with its line."""

import difflib
import math
from collections.abc import Iterable
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from gateway.contract.errors import RegistryMistake
from gateway.contract.local_time import first_ms, to_ms
from gateway.contract.readings import ID_RULE, is_id
from gateway.contract.toml_lines import LineIndex, Place

_MAX_TEXT = 200

_Choice = TypeVar("_Choice", bound=StrEnum)

_TYPE_NAMES: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
    datetime: "a date with a time",
    date: "a date",
    time: "a time of day",
}


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest known word, or nothing."""
    near = difflib.get_close_matches(given, [str(word) for word in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def toml_type(found: object) -> str:
    """What a value of a TOML file is, in words."""
    return _TYPE_NAMES.get(type(found), type(found).__name__)


class Mistakes:
    """The mistakes of a file so far, each at its line."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Made for the first mistake: for a whole city's file it takes seconds.
        self._lines: LineIndex | None = None
        self._found: list[RegistryMistake] = []

    def report(self, place: Place, text: str, *, inner: Place = ()) -> None:
        """Note what is wrong at a place, such as ``("pools", "qf-main", "sensors", 0, "id")``.

        `inner` leads from there to the line, where a list goes over several.
        """
        if self._lines is None:
            self._lines = LineIndex(self._text)
        words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        self._found.append(
            RegistryMistake(line=self._lines.find((*place, *inner)), place=words or "file", text=text)
        )

    def in_order(self) -> list[RegistryMistake]:
        """Every mistake, by line."""
        return sorted(self._found, key=lambda mistake: mistake.line or 0)


class Table:
    """A table of the file. What `take_…` and the like cannot use they report, and give None for it."""

    def __init__(self, mistakes: Mistakes, place: Place, content: object) -> None:
        self.mistakes = mistakes
        self.place = place
        self.content: dict[str, Any] = content if isinstance(content, dict) else {}
        self._usable = isinstance(content, dict)
        self._taken: list[str] = []
        if not self._usable:
            mistakes.report(place, f"is {toml_type(content)}, it must be a table")

    def report(self, key: str, text: str, *, inner: Place = ()) -> None:
        """Note what is wrong with a key's value, or within it."""
        self.mistakes.report((*self.place, key), text, inner=inner)

    def close(self) -> None:
        """Report the keys that nobody took."""
        for key in self.content:
            if key not in self._taken:
                near = difflib.get_close_matches(key, self._taken, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else f"; known here: {', '.join(self._taken)}"
                self.report(key, f"is not a known key{hint}")

    def take(self, key: str, kinds: tuple[type, ...], *, needed: bool = False) -> Any:
        """Value of exactly one of some types."""
        self._taken.append(key)
        if key not in self.content:
            if needed and self._usable:
                self.mistakes.report(self.place, f"`{key}` is missing")
            return None
        found = self.content[key]
        if type(found) not in kinds:
            wanted = " or ".join(_TYPE_NAMES[kind] for kind in kinds)
            self.report(key, f"is {toml_type(found)}, it must be {wanted}")
            return None
        return found

    def take_text(self, key: str, *, needed: bool = False) -> str | None:
        """Text that is not blank and not long."""
        found: str | None = self.take(key, (str,), needed=needed)
        if found is not None and not 0 < len(found.strip()) <= _MAX_TEXT:
            self.report(key, "is empty" if not found.strip() else f"is longer than {_MAX_TEXT} characters")
            return None
        return found

    def take_positive(self, key: str) -> float | None:
        """Finite number above 0."""
        found: float | None = self.take(key, (float, int))
        if found is not None and not (found > 0 and math.isfinite(found)):
            self.report(
                key, f"{found} is not above 0" if math.isfinite(found) else f"{found} is no finite number"
            )
            return None
        return None if found is None else float(found)

    def take_choice(self, key: str, choices: type[_Choice]) -> _Choice | None:
        """Member of an enumeration; needed."""
        given = self.take_text(key, needed=True)
        if given is None:
            return None
        if given in list(choices):
            return choices(given)
        self.report(key, f"{given!r} is not known{nearest(given, choices)}; known: {', '.join(choices)}")
        return None

    def take_instant(self, key: str, zone: ZoneInfo) -> int | None:
        """Milliseconds of a date-time with offset, or of a date: its first instant in the time zone."""
        given: date | None = self.take(key, (datetime, date))
        if given is None:
            return None
        if not isinstance(given, datetime):
            return first_ms(datetime.combine(given, time()), zone)
        if given.tzinfo is None:
            self.report(key, "has no offset: write it like 2026-03-01T08:00:00+08:00, or only the date")
            return None
        return to_ms(given)

    def take_reference(self, key: str, section: str, known: Iterable[str]) -> str | None:
        """Id of an entry of another section; needed. One that is unknown is reported and given all the same."""
        given = self.take_text(key, needed=True)
        if given is not None:
            self.check_reference(key, given, section, known)
        return given

    def check_reference(
        self, key: str, given: str, section: str, known: Iterable[str], *, inner: Place = ()
    ) -> None:
        """Report an id that a section does not have."""
        if given not in known:
            self.report(key, f"there is no [{section}.{given}]{nearest(given, known)}", inner=inner)

    def take_tables(self, section: str) -> dict[str, "Table"]:
        """Tables of a section by id; bad ids are reported and left out."""
        content = self.take(section, (dict,))
        tables = {}
        for name, table in (content or {}).items():
            if is_id(name):
                tables[name] = Table(self.mistakes, (*self.place, section, name), table)
            else:
                self.mistakes.report((*self.place, section, name), f"{name!r}: {ID_RULE}")
        return tables
