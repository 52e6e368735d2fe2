"""JSON as the contract means it: UTF-8, bounded, no key twice, no number that is none."""

import json
from typing import Any, NoReturn

from gateway.contract.errors import MessageError

#: A payload above this is refused; the broker itself refuses above four times this.
MAX_PAYLOAD_BYTES = 64 * 1024
#: An envelope with flat items is three deep; a little more is told from nonsense by its types.
MAX_DEPTH = 8
#: A reason is for people: what a sender wrote is quoted in it only so far.
_MAX_REASON = 300


class _DuplicateKeyError(ValueError):
    """A JSON object that has a key twice: which of the two was meant, nobody knows."""


class _NotFiniteError(ValueError):
    """NaN and infinities are no JSON, though many parsers take them."""


def parse_json(payload: bytes) -> object:
    """Parsed JSON of a payload.

    Raises
    ------
    MessageError
        Codes ``too_large``, ``not_utf8``, ``malformed_json``, ``not_finite``, ``duplicate_key``, ``too_deep``.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(
            "too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are taken: split the message"
        )
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageError("not_utf8", f"byte {error.start} is not UTF-8") from error
    try:
        parsed: object = _DECODER.decode(text)
    except _DuplicateKeyError as error:
        raise MessageError("duplicate_key", shorten(str(error))) from error
    except _NotFiniteError as error:
        raise MessageError("not_finite", shorten(str(error))) from error
    except RecursionError as error:
        raise MessageError("too_deep", f"the payload nests deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise MessageError("malformed_json", f"not JSON: {error}") from error
    return parsed


def refuse_depth(parsed: object) -> None:
    """Raise MessageError (``too_deep``) if a value nests deeper than the contract's bound.

    What fits the models never does, so only what did not fit needs to be asked.
    """
    if _deeper_than(parsed, MAX_DEPTH):
        raise MessageError("too_deep", f"the payload nests deeper than {MAX_DEPTH} levels")


def json_type(parsed: object) -> str:
    """Name of the JSON type of a parsed value."""
    names: dict[type, str] = {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        type(None): "null",
    }
    return names.get(type(parsed), "number")


def shorten(text: str) -> str:
    """Cut a reason that quotes a long piece of a payload; half of a surrogate pair in it becomes a question mark."""
    cut = text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
    return cut.encode("utf-8", errors="replace").decode()


def _refuse_constant(name: str) -> NoReturn:
    raise _NotFiniteError(
        f"{name} is not a number of JSON; a missing value is null with a status that says why"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(f"the key {key[:80]!r} is there twice in one object")
            seen.add(key)
    return unique


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _deeper_than(parsed: object, levels: int) -> bool:
    if not isinstance(parsed, dict | list):
        return False
    if levels == 0:
        return True
    inner = parsed.values() if isinstance(parsed, dict) else parsed
    return any(_deeper_than(child, levels - 1) for child in inner)
