"""`credentials.toml`: user name and password of each gateway and of each service, and where the broker is."""

import json
import tomllib
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract.errors import ContractError

_ShortText = Annotated[str, Meta(min_length=1, max_length=256)]


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one client shows to the broker."""

    username: _ShortText
    password: _ShortText
    host: _ShortText
    port: Annotated[int, Meta(ge=1, le=65535)]


@dataclass(frozen=True, slots=True)
class Credentials:
    """All credentials of a deployment, by gateway id and by service name."""

    gateways: dict[str, Credential]
    services: dict[str, Credential]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    gateways: dict[str, Credential] = {}
    services: dict[str, Credential] = {}


def parse_credentials(text: str) -> Credentials:
    """Credentials of a file's text.

    Raises
    ------
    ContractError
        If it is no TOML, or a table lacks `username`, `password`, `host` or `port`.
    """
    try:
        parsed = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ContractError(
            f"credentials: {error}. Each table, [gateways.ID] or [services.NAME], needs username, password, host and port"
        ) from error
    return Credentials(parsed.gateways, parsed.services)


def render_credentials(credentials: Credentials) -> str:
    """Text of a credentials file, which `parse_credentials` reads back."""
    lines = []
    for section, entries in (("gateways", credentials.gateways), ("services", credentials.services)):
        for name, entry in entries.items():
            lines.append(f"[{section}.{json.dumps(name)}]")
            lines += [
                f"{key} = {_toml_string(getattr(entry, key))}" for key in ("username", "password", "host")
            ]
            lines += [f"port = {entry.port}", ""]
    return "\n".join(lines)


def _toml_string(text: str) -> str:
    """A JSON string is a TOML basic string too, once the one character that only JSON leaves alone is escaped."""
    return json.dumps(text).replace("\x7f", "\\u007f")
