"""The file that `influx:PATH` names: where InfluxDB is, who asks, and which buckets are meant."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ingest.store.ports import StoreError

_Text = Annotated[str, Meta(min_length=1, max_length=512)]
_RULE = "It needs url, org, token and a table [buckets]; `poolwatch influx init` writes such files"


class InfluxBuckets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who writes what: ingest the facts, dashboards what was published, analytics verdicts and states."""

    facts: _Text = "poolwatch-facts"
    published: _Text = "poolwatch-published"
    verdicts: _Text = "poolwatch-verdicts"
    states: _Text = "poolwatch-states"


class InfluxAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server, an organisation in it, and a token that may read or write some of its buckets."""

    url: _Text
    org: _Text
    token: _Text
    buckets: InfluxBuckets = InfluxBuckets()

    def __repr__(self) -> str:
        # Never the token: what is printed ends up in a log.
        return f"InfluxAddress(url={self.url!r}, org={self.org!r}, buckets={self.buckets!r})"


def parse_address(text: str) -> InfluxAddress:
    """Address of a file's text.

    Raises
    ------
    StoreError
        If it is no TOML or lacks something. Never shows the token.
    """
    try:
        address = msgspec.convert(tomllib.loads(text), InfluxAddress)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"address of InfluxDB: {error}. {_RULE}") from error
    if not address.url.startswith(("http://", "https://")):
        raise StoreError(f"address of InfluxDB: url is {address.url!r}; it begins with http:// or https://")
    return address


def read_address(path: Path) -> InfluxAddress:
    """Address in a file.

    Raises
    ------
    StoreError
        If the file cannot be read, or `parse_address` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"address of InfluxDB: cannot read {path}: {error}. {_RULE}") from error
    try:
        return parse_address(text)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error


def render_address(address: InfluxAddress) -> str:
    """Text of an address file, which `parse_address` reads back."""
    lines = [f"{name} = {_toml_string(getattr(address, name))}" for name in ("url", "org", "token")]
    lines += ["", "[buckets]"]
    lines += [
        f"{name} = {_toml_string(getattr(address.buckets, name))}" for name in InfluxBuckets.__struct_fields__
    ]
    return "\n".join([*lines, ""])


def _toml_string(text: str) -> str:
    # A JSON string is a TOML basic string too, once the one character that only JSON leaves alone is escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
