"""The contract as documents for those who build hardware: JSON Schemas and an AsyncAPI description, from the models."""

import json
from typing import Any

import msgspec

from gateway.contract.codec import MAX_PAYLOAD_BYTES
from gateway.contract.logbook import NEEDED_FIELDS, LogbookEntry, LogbookMessage
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.readings import ID_PATTERN, RESULT_STATUSES, Reading, ReadingsMessage
from gateway.contract.receipts import Receipt
from gateway.contract.status import GatewayStatus
from gateway.contract.topics import logbook_topic, readings_topic, status_topic, stored_topic

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MQTT_BINDING_VERSION = "0.2.0"
_SCHEMAS: dict[str, tuple[type, str]] = {
    "readings": (ReadingsMessage, "Readings of a pool's sensors, each with the sensor's own time."),
    "logbook": (LogbookMessage, "Facts that people or devices enter."),
    "receipt": (Receipt, "Messages that are in the journal: the gateway may forget them."),
    "status": (GatewayStatus, "What a gateway says of itself."),
}
_PARAMETERS = {
    "pool_id": "A pool of the registry that the gateway may speak for",
    "gateway_id": "The gateway's id; a payload that names its gateway must name the same",
}


def documents() -> dict[str, str]:
    """Every document by file name; the same text for the same models.

    Returns
    -------
    dict of str to str
        Four JSON Schemas (draft 2020-12) and ``asyncapi.json`` (AsyncAPI 3.0), each ending in a newline.
    """
    texts = {f"{name}.schema.json": _json(_schema(model, text)) for name, (model, text) in _SCHEMAS.items()}
    texts["asyncapi.json"] = _json(_asyncapi())
    return texts


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type, description: str) -> dict[str, Any]:
    schema = msgspec.json.schema(model)
    definitions = schema["$defs"]
    if Quantity.__name__ in definitions:
        definitions[Quantity.__name__]["description"] = "; ".join(
            f"{name}: {spec.name_en}, {spec.unit or 'no unit'}, plausible {spec.low:g} to {spec.high:g}"
            for name, spec in SPECS.items()
        )
    if Reading.__name__ in definitions:
        definitions[Reading.__name__]["allOf"] = [_results_have_values()]
    if LogbookEntry.__name__ in definitions:
        definitions[LogbookEntry.__name__]["allOf"] = _needs_by_kind()
        definitions[LogbookEntry.__name__]["properties"]["quantities"] = _posted_quantities()
    return {"$schema": _DIALECT, "description": description, **schema}


# The rules between fields, which the types of the models cannot say and the codec checks.


def _results_have_values() -> dict[str, Any]:
    # An absent status means normal, and this condition holds for an absent one too.
    is_result = {"properties": {"status": {"enum": [status.value for status in RESULT_STATUSES]}}}
    return {"if": is_result, "then": {"properties": {"value": {"type": "number"}}}}


def _needs_by_kind() -> list[dict[str, Any]]:
    rules = []
    for kind, attributes in NEEDED_FIELDS.items():
        names = [attribute.rstrip("_") for attribute in attributes]
        present = {"required": names, "properties": {name: {"not": {"type": "null"}} for name in names}}
        rules.append(
            {"if": {"properties": {"kind": {"const": kind.value}}, "required": ["kind"]}, "then": present}
        )
    return rules


def _posted_quantities() -> dict[str, Any]:
    names = {"type": "array", "items": {"enum": list(Quantity)}, "minItems": 1, "maxItems": 20}
    return {"anyOf": [names, {"type": "null"}], "default": None}


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{name}.schema.json"},
        },
    }


def _channel(address: str, message: str, description: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {
            name: {"description": f"{meaning}; matches {ID_PATTERN}"}
            for name, meaning in _PARAMETERS.items()
            if f"{{{name}}}" in address
        },
    }


def _operation(
    action: str, channel: str, message: str, summary: str, *, retain: bool = False
) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "summary": summary,
        "bindings": {"mqtt": {"qos": 1, "retain": retain, "bindingVersion": _MQTT_BINDING_VERSION}},
    }


def _broker() -> dict[str, Any]:
    """What a gateway needs for its connection."""
    return {
        "host": "{host}:{port}",
        "protocol": "mqtt",
        "description": "The deployment's broker. A gateway may write and read its own topics only.",
        "variables": {
            "host": {"default": "localhost", "description": "`host` of the gateway's credentials"},
            "port": {"default": "1883", "description": "`port` of the gateway's credentials"},
        },
        "security": [{"$ref": "#/components/securitySchemes/gateway"}],
        "bindings": {
            "mqtt": {
                "clientId": "{gateway_id}",
                "cleanSession": False,
                "keepAlive": 60,
                "lastWill": {
                    "topic": status_topic("{gateway_id}"),
                    "qos": 1,
                    "message": "the gateway's status, with state offline",
                    "retain": True,
                },
                "bindingVersion": _MQTT_BINDING_VERSION,
            }
        },
    }


def _asyncapi() -> dict[str, Any]:
    """Seen from a gateway: it sends readings, logbook and status, and receives receipts."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "poolwatch gateways",
            "version": "1",
            "description": (
                "MQTT 3.1.1 or 5, keepalive 15 to 120 s, user name and client id are the gateway's id. Payloads "
                f"are UTF-8 JSON of at most {MAX_PAYLOAD_BYTES} bytes; unknown fields, duplicate keys, NaN and "
                "infinities are refused. `seq` counts the messages of a boot from 0 without holes, over readings "
                "and logbook together. A gateway that keeps each message until a receipt names it loses nothing; "
                "one that does not listen to receipts relies on the PUBACK."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _broker()},
        "channels": {
            "readings": _channel(
                readings_topic(pool_id="{pool_id}", gateway_id="{gateway_id}"),
                "readings",
                "Readings of one pool; QoS 1, not retained.",
            ),
            "logbook": _channel(
                logbook_topic(pool_id="{pool_id}", gateway_id="{gateway_id}"),
                "logbook",
                "Logbook of one pool; QoS 1, not retained.",
            ),
            "stored": _channel(
                stored_topic("{gateway_id}"),
                "receipt",
                "Receipts, QoS 1, not retained, at most one a second: written by ingest, read only by this "
                "gateway. A receipt speaks only of the seqs that it names, ends included; unite them.",
            ),
            "status": _channel(
                status_topic("{gateway_id}"),
                "status",
                "QoS 1, retained; also the last will, with state offline; again each minute.",
            ),
        },
        "operations": {
            "sendReadings": _operation("send", "readings", "readings", "Publish what was measured."),
            "sendLogbook": _operation("send", "logbook", "logbook", "Publish what was entered."),
            "receiveStored": _operation("receive", "stored", "receipt", "Learn what may be forgotten."),
            "sendStatus": _operation("send", "status", "status", "Say how the gateway stands.", retain=True),
        },
        "components": {
            "messages": {name: _message(name) for name in _SCHEMAS},
            "securitySchemes": {
                "gateway": {
                    "type": "userPassword",
                    "description": "The user name is the gateway's id; each gateway has a password of its own.",
                }
            },
        },
    }
