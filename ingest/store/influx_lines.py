"""Line protocol: points as the text that InfluxDB takes. Pure.

Numbers carry their kind: a float by `repr`, which reads back as the same float, an integer with `i`. Names (of pools,
sensors, quantities) become tag values and field keys, in which no backslash, slash or line break can stand.
"""

from collections.abc import Mapping

import msgspec

from ingest.store.ports import StoreRejectedError

FieldValue = float | int | str

HOUR_MS = 3_600_000
NS_PER_MS = 1_000_000

_PACKED = "json:"
_NAME_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_TEXT_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})
_FORBIDDEN = ("/", "\\", "\n", "\r", "\0")


def escape_name(name: str) -> str:
    r"""Tag value or part of a field key.

    Raises
    ------
    StoreRejectedError
        If it is empty or holds a slash, a backslash or a line break: no name of the contract does.
    """
    if not name or any(character in name for character in _FORBIDDEN):
        raise StoreRejectedError(
            f"{name!r} cannot be a name in InfluxDB: it is empty or has a slash, a backslash or a line break"
        )
    return name.translate(_NAME_ESCAPES)


def escape_text(text: str) -> str:
    """Content of a string field, without the quotes around it; line breaks and any script stay as they are."""
    return text.translate(_TEXT_ESCAPES)


def pack_text(text: str) -> str:
    """A text without carriage returns, which InfluxDB loses in its answers; `unpack_text` takes it back."""
    if "\r" in text or text.startswith(_PACKED):
        return _PACKED + msgspec.json.encode(text).decode()
    return text


def unpack_text(text: str) -> str:
    """A text as it was written; InfluxDB's answers have carriage return and line feed for a line feed."""
    plain = text.replace("\r\n", "\n")
    if plain.startswith(_PACKED):
        return msgspec.json.decode(plain[len(_PACKED) :], type=str)
    return plain


def field_text(value: FieldValue) -> str:
    """A field's value; floats are finite."""
    if isinstance(value, str):
        return f'"{escape_text(pack_text(value))}"'
    return f"{value}i" if isinstance(value, int) else repr(value)


def point_line(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, FieldValue], at: int | None
) -> str:
    """One point.

    Parameters
    ----------
    measurement : str
        A word of ours.
    tags, fields : mappings
        Tag values are names; the keys of fields are escaped already.
    at : int or None
        Instant in the precision of the write; None: the server's own clock.
    """
    named = "".join(f",{key}={escape_name(value)}" for key, value in tags.items())
    carried = ",".join(f"{key}={field_text(value)}" for key, value in fields.items())
    return f"{measurement}{named} {carried}" if at is None else f"{measurement}{named} {carried} {at}"
