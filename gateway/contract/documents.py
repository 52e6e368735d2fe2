"""The contract as documents for those who build hardware: JSON Schemas and an AsyncAPI description, from the models."""

import json
from typing import Any

import msgspec

from gateway.contract.codec import MAX_PAYLOAD_BYTES
from gateway.contract.logbook import LogbookMessage
from gateway.contract.quantities import SPECS
from gateway.contract.readings import ReadingsMessage
from gateway.contract.receipts import Receipt
from gateway.contract.status import GatewayStatus

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMAS: dict[str, tuple[type, str]] = {
    "readings": (ReadingsMessage, "Readings of a pool's sensors, each with the sensor's own time."),
    "logbook": (LogbookMessage, "Facts that people or devices enter."),
    "receipt": (Receipt, "Messages that are in the journal: the gateway may forget them."),
    "status": (GatewayStatus, "What a gateway says of itself."),
}


def documents() -> dict[str, str]:
    """Every document by file name; the same text for the same models."""
    schemas = {name: _schema(model, text) for name, (model, text) in _SCHEMAS.items()}
    texts = {f"{name}.schema.json": _json(schema) for name, schema in schemas.items()}
    texts["asyncapi.json"] = _json(_asyncapi())
    return texts


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type, description: str) -> dict[str, Any]:
    schema = msgspec.json.schema(model)
    if model is ReadingsMessage:
        quantity = schema["$defs"]["Quantity"]
        quantity["description"] = "; ".join(
            f"{name}: {spec.name_en}, {spec.unit or 'no unit'}, plausible {spec.low:g} to {spec.high:g}"
            for name, spec in SPECS.items()
        )
    return {"$schema": _DIALECT, "description": description, **schema}


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{name}.schema.json"},
        },
    }


def _channel(address: str, message: str, description: str, parameters: tuple[str, ...]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {
            name: {"description": "lower-case letters, digits and hyphens, at most 63 characters"}
            for name in parameters
        },
    }


def _operation(action: str, channel: str, summary: str, *, retain: bool) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": {"mqtt": {"qos": 1, "retain": retain}},
    }


def _asyncapi() -> dict[str, Any]:
    """Seen from a gateway: it sends readings, logbook and status, and receives receipts."""
    pool = ("pool_id", "gateway_id")
    gateway = ("gateway_id",)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "poolwatch gateways",
            "version": "1",
            "description": (
                "MQTT 3.1.1 or 5, keepalive 15 to 120 s, user name and client id are the gateway's id. Payloads are UTF-8 "
                f"JSON of at most {MAX_PAYLOAD_BYTES} bytes. `seq` counts the messages of a boot from 0 without holes, "
                "over readings and logbook together. A gateway that keeps each message until a receipt names it loses "
                "nothing; one that does not listen to receipts relies on the PUBACK."
            ),
        },
        "channels": {
            "readings": _channel(
                "pools/{pool_id}/gateways/{gateway_id}/readings",
                "readings",
                "Readings of one pool; not retained.",
                pool,
            ),
            "logbook": _channel(
                "pools/{pool_id}/gateways/{gateway_id}/logbook",
                "logbook",
                "Logbook of one pool; not retained.",
                pool,
            ),
            "stored": _channel(
                "gateways/{gateway_id}/stored",
                "receipt",
                "Receipts, at most one a second: written by ingest, read only by this gateway.",
                gateway,
            ),
            "status": _channel(
                "gateways/{gateway_id}/status",
                "status",
                "Retained; also the last will, with state offline; again each minute.",
                gateway,
            ),
        },
        "operations": {
            "sendReadings": _operation("send", "readings", "Publish what was measured.", retain=False),
            "sendLogbook": _operation("send", "logbook", "Publish what was entered.", retain=False),
            "receiveStored": _operation("receive", "stored", "Learn what may be forgotten.", retain=False),
            "sendStatus": _operation("send", "status", "Say how the gateway stands.", retain=True),
        },
        "components": {"messages": {name: _message(name) for name in _SCHEMAS}},
    }
