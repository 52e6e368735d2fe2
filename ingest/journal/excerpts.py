"""What a refused message or item began with, as text. Pure."""

import msgspec

#: Position of a refusal that concerns the whole message, in the state file.
WHOLE = -1
_EXCERPT_CHARACTERS = 200


def excerpt_of(payload: bytes, position: int | None) -> str:
    """Beginning of a message, or of one of its items."""
    text = item_bytes(payload, position)[: 4 * _EXCERPT_CHARACTERS].decode("utf-8", errors="replace")
    return text if len(text) <= _EXCERPT_CHARACTERS else f"{text[: _EXCERPT_CHARACTERS - 1]}…"


def item_bytes(payload: bytes, position: int | None) -> bytes:
    """One item of a message as it came; the whole message without a position, or if it cannot be taken apart."""
    if position is None:
        return payload
    try:
        parsed = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(
            parsed.get("readings") or parsed.get("entries") or b"[]", type=list[msgspec.Raw]
        )
        return bytes(items[position])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return payload
