"""`credentials.toml`: user name and password of each gateway and of each service, and where the broker is."""

import json
import posixpath
import tomllib
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.contract.errors import ContractError

_Text = Annotated[str, Meta(min_length=1, max_length=256)]
#: A group's name stands between two slashes of a filter.
_GroupName = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z")]
_SECTIONS = ("gateways", "services")
_RULE = "Each table, [gateways.ID] or [services.NAME], needs username, password, host and port"


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one client shows to the broker, and how it reaches it.

    `tls`: the connection is encrypted. `ca_file`: the authorities that are trusted then, relative to the credentials'
    folder; None: those of the operating system. `share_group`: of an ingest, the name under which it shares messages
    with others. Brokers let anybody join a group whose name he knows, and lose what they then hand to him, so it is
    a secret too.
    """

    username: _Text
    password: _Text
    host: _Text
    port: Annotated[int, Meta(ge=1, le=65535)]
    tls: bool = False
    ca_file: _Text | None = None
    share_group: _GroupName | None = None

    def __repr__(self) -> str:
        # Never a secret: what is printed ends up in a log.
        return f"Credential(username={self.username!r}, host={self.host!r}, port={self.port}, tls={self.tls})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """All credentials of a deployment, by gateway id and by service name."""

    gateways: dict[str, Credential]
    services: dict[str, Credential]

    def beside(self, folder: str) -> "Credentials":
        """The same, with each relative `ca_file` taken from `folder`, where the credentials' file is."""

        def placed(entries: dict[str, Credential]) -> dict[str, Credential]:
            return {
                name: entry
                if entry.ca_file is None
                else msgspec.structs.replace(entry, ca_file=posixpath.join(folder, entry.ca_file))
                for name, entry in entries.items()
            }

        return Credentials(placed(self.gateways), placed(self.services))


def parse_credentials(text: str) -> Credentials:
    """Credentials of a file's text.

    Raises
    ------
    ContractError
        If it is no TOML, or a table lacks `username`, `password`, `host` or `port`. Says which table and what to
        do, and never shows a password.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and integers of thousands of digits
        raise ContractError(f"credentials: no TOML: {error}. {_RULE}") from error
    for section in sorted(content.keys() - set(_SECTIONS)):
        raise ContractError(f"credentials: {section!r} is not known. {_RULE}")
    return Credentials(_section(content, "gateways"), _section(content, "services"))


def _section(content: dict[str, Any], section: str) -> dict[str, Credential]:
    tables = content.get(section, {})
    if not isinstance(tables, dict):
        raise ContractError(f"credentials: {section!r} is no table. {_RULE}")
    credentials = {}
    for name, table in tables.items():
        try:
            credentials[name] = msgspec.convert(table, Credential)
        except msgspec.ValidationError as error:
            raise ContractError(f"credentials: [{section}.{name}]: {error}. {_RULE}") from error
    return credentials


def render_credentials(credentials: Credentials) -> str:
    """Text of a credentials file, which `parse_credentials` reads back."""
    lines = []
    for section, entries in ((name, getattr(credentials, name)) for name in _SECTIONS):
        for name, entry in entries.items():
            lines.append(f"[{section}.{_toml_string(name)}]")
            lines += [
                f"{key} = {_toml_string(getattr(entry, key))}" for key in ("username", "password", "host")
            ]
            lines.append(f"port = {entry.port}")
            if entry.tls:
                lines.append("tls = true")
            lines += [
                f"{key} = {_toml_string(value)}"
                for key in ("ca_file", "share_group")
                if (value := getattr(entry, key)) is not None
            ]
            lines.append("")
    return "\n".join(lines)


def _toml_string(text: str) -> str:
    """A JSON string is a TOML basic string too, once the one character that only JSON leaves alone is escaped."""
    # Written as they are: JSON's escapes of characters beyond U+FFFF are no TOML.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
