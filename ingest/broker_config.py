"""The broker's files as text, from registry and credentials. Pure: salts are given."""

import base64
import hashlib
import json
from dataclasses import dataclass

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from gateway.contract.topics import (
    LOGBOOK_FILTER,
    READINGS_FILTER,
    STATUS_FILTER,
    logbook_topic,
    readings_topic,
    status_topic,
    stored_topic,
)

INGEST_SERVICE = "ingest"
#: Who may hear what the broker says of itself. No name of `credentials.toml`: that has no such sign.
MONITOR_SERVICE = "$monitor"
#: The contract's payload limit is 64 KiB; up to here a message still reaches ingest, whose quarantine says why.
MAX_MESSAGE_BYTES = 256 * 1024
#: Messages on their way to one client without its acknowledgement, unless it says its own number, as ingest does in MQTT 5.
#: With a broker that knows only 3.1.1, ingest commits so many at a time at most. It is also how many receipts Mosquitto
#: takes unconfirmed.
MAX_INFLIGHT = 1000
#: What the broker may hold for an ingest that is away; beyond it messages are dropped and gateways send again.
MAX_QUEUED_BYTES = 256 * 1024 * 1024
MEMORY_LIMIT_BYTES = 512 * 1024 * 1024
_AUTOSAVE_S = 10
#: rumqttd keeps every message in memory, per filter; ten segments of 4 MiB bound it.
_SEGMENT_BYTES = 4 * 1024 * 1024
_SEGMENTS = 10

#: Mosquitto's number for PBKDF2-SHA512, and the rounds of its own mosquitto_passwd: the passwords are random, not chosen.
_HASH_KIND = 7
_HASH_ROUNDS = 101


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where the broker listens and keeps its memory.

    `run_as` is the user that a broker started by root stays. `server_pem`: certificate and key in one file, for TLS.
    """

    host: str
    port: int
    folder: str
    run_as: str | None = None
    server_pem: str | None = None


def mosquitto_conf(place: BrokerPlace) -> str:
    """Text of `mosquitto.conf`: no anonymous client, one listener, everything bounded, memory on disk."""
    lines = [
        f"listener {place.port} {place.host}",
        *_tls_lines(place),
        "allow_anonymous false",
        f"password_file {place.folder}/passwords",
        f"acl_file {place.folder}/acl",
        # A client id of its own choice would let one gateway take over the session of another, or of ingest.
        "use_username_as_clientid true",
        f"max_inflight_messages {MAX_INFLIGHT}",
        "max_queued_messages 0",
        f"max_queued_bytes {MAX_QUEUED_BYTES}",
        f"message_size_limit {MAX_MESSAGE_BYTES}",
        f"memory_limit {MEMORY_LIMIT_BYTES}",
        "retain_available true",
        "persistence true",
        f"persistence_location {place.folder}/",
        f"autosave_interval {_AUTOSAVE_S}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
    ]
    if place.run_as is not None:
        lines.append(f"user {place.run_as}")
    return "\n".join(lines) + "\n"


def _tls_lines(place: BrokerPlace) -> list[str]:
    if place.server_pem is None:
        return []
    # Mosquitto's `tls_version` is the oldest one that it takes. One file for both, so that a renewal is one step.
    return [f"certfile {place.server_pem}", f"keyfile {place.server_pem}", "tls_version tlsv1.2"]


def is_ingest(service: str) -> bool:
    """Whether a service of the credentials is an ingest: ``ingest``, ``ingest-2``, ``ingest-3`` …"""
    return service == INGEST_SERVICE or service.startswith(f"{INGEST_SERVICE}-")


def acl_text(registry: Registry, credentials: Credentials) -> str:
    """Text of Mosquitto's access list: a gateway writes its own pools' topics and its status, and reads its receipts.

    A gateway with credentials that the registry does not name may do nothing, and no service but an ingest
    anything, apart from the monitor, which hears the broker's own figures.
    """
    blocks = []
    for gateway_id, credential in credentials.gateways.items():
        entry = registry.gateways.get(gateway_id)
        if entry is None:
            continue
        lines = [f"user {credential.username}"]
        for pool_id in sorted(entry.pools):
            lines += [
                f"topic write {readings_topic(pool_id=pool_id, gateway_id=gateway_id)}",
                f"topic write {logbook_topic(pool_id=pool_id, gateway_id=gateway_id)}",
            ]
        lines += [f"topic write {status_topic(gateway_id)}", f"topic read {stored_topic(gateway_id)}"]
        blocks.append("\n".join(lines))
    for service, credential in credentials.services.items():
        if is_ingest(service):
            lines = [f"topic read {name}" for name in (READINGS_FILTER, LOGBOOK_FILTER, STATUS_FILTER)]
            lines.append(f"topic write {stored_topic('+')}")
            blocks.append("\n".join([f"user {credential.username}", *lines]))
        elif service == MONITOR_SERVICE:
            blocks.append(f"user {credential.username}\ntopic read $SYS/broker/#")
    return "\n\n".join(blocks) + "\n"


def password_line(credential: Credential, *, salt: bytes) -> str:
    """One line of Mosquitto 2's password file: PBKDF2 with HMAC-SHA512, salt of 12 bytes, hash of 64."""
    digest = hashlib.pbkdf2_hmac("sha512", credential.password.encode(), salt, _HASH_ROUNDS)
    fields = [
        str(_HASH_KIND),
        str(_HASH_ROUNDS),
        *(base64.b64encode(part).decode() for part in (salt, digest)),
    ]
    return f"{credential.username}:${'$'.join(fields)}"


def iotcore_toml(place: BrokerPlace, credentials: Credentials) -> str:
    """Text of rumqttd's TOML: one listener, credentials, a bounded log in memory. It has no access lists."""
    lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 10000",
        f"max_outgoing_packet_count = {MAX_INFLIGHT}",
        f"max_segment_size = {_SEGMENT_BYTES}",
        f"max_segment_count = {_SEGMENTS}",
        "[v4.1]",
        'name = "mqtt"',
        f'listen = "{place.host}:{place.port}"',
        "next_connection_delay_ms = 1",
        "[v4.1.connections]",
        "connection_timeout_ms = 60000",
        f"max_payload_size = {MAX_MESSAGE_BYTES}",
        f"max_inflight_count = {MAX_INFLIGHT}",
        "dynamic_filters = true",
        "[v4.1.connections.auth]",
    ]
    lines += [
        f"{_quoted(entry.username)} = {_quoted(entry.password)}" for entry in all_credentials(credentials)
    ]
    return "\n".join(lines) + "\n"


def all_credentials(credentials: Credentials) -> list[Credential]:
    """Credentials of all clients.

    Raises
    ------
    ContractError
        If two share a user name, or one could not stand in the broker's line-based files.
    """
    entries = [*credentials.gateways.values(), *credentials.services.values()]
    seen: set[str] = set()
    for entry in entries:
        if entry.username in seen:
            raise ContractError(
                f"credentials: the user name {entry.username!r} is there twice; give each its own"
            )
        if not entry.username.isprintable() or any(sign in entry.username for sign in ': "'):
            raise ContractError(
                f"credentials: the user name {entry.username!r} must have no space, colon or quote"
            )
        seen.add(entry.username)
    return entries


def _quoted(text: str) -> str:
    """A JSON string is a TOML basic string too, once DEL is escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
