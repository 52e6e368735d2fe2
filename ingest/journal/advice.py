"""What to do about each reason of a refusal, in words. Pure."""

_ADVICE = {
    "bad_topic": "The topic is outside the contract. Correct it at the gateway; see docs for the three topics.",
    "malformed_json": "The payload is no JSON. Look at the gateway's program; it will not be released as it is.",
    "duplicate_key": "A field is there twice, so none can be believed. Correct the gateway's program.",
    "gateway_mismatch": "Topic and payload name different gateways. Correct the gateway's settings.",
    "wrong_shape": "A field has the wrong type or form. Correct the gateway's program by the contract's JSON Schema.",
    "missing_field": "A field is missing. Correct the gateway's program by the contract's JSON Schema.",
    "missing_value": "The value is null, which only a fault's status allows. Correct the gateway's status.",
    "not_finite": "The value is no finite number. Look at the probe and at the gateway's driver.",
    "bad_time": "The time has another form than RFC 3339 with Z. Correct the gateway's program.",
    "unknown_quantity": "The contract has no such quantity. Correct the gateway, or update poolwatch and release.",
    "too_large": "The payload is above 64 KiB. Have the gateway send smaller batches.",
    "too_many": "There are more items than a message may hold. Have the gateway send smaller batches.",
    "too_deep": "The JSON is nested too deep. Correct the gateway's program.",
    "empty": "The message has no item. Correct the gateway's program; nothing is lost.",
    "unknown_gateway": "Add the gateway to the registry, then release; or take away its credentials.",
    "unknown_pool": "Add the pool to the registry, then release; or correct the gateway's topic.",
    "foreign_pool": "Add the pool to this gateway in the registry, then release; or find who sends it.",
    "unknown_sensor": "Add the sensor to its pool in the registry, then release; or correct its id at the gateway.",
    "foreign_quantity": "Give the sensor this quantity in the registry, then release; or correct the gateway.",
    "sensor_not_in_force": "Correct `from` and `until` of the sensor in the registry, then release.",
    "wrong_status": "A test by hand needs status manual or laboratory. Enter it again.",
    "future_time": "Correct the gateway's clock. Such readings have no time to be believed: they stay.",
    "cloned": "Two gateways share an identity, or one counts wrongly: give one new credentials. What the second measured "
    "can be released by force.",
    "conflict": "Another value for the same time came first and stands. Enter a correction into the logbook if it is wrong.",
    "store_rejected": "The store will not take it. Look at its reason; once that is mended, release by force.",
    "unexpected": "Ingest failed in an unexpected way. Report it with this message; release it after an update.",
}


def advice_for(code: str) -> str:
    """What to do about a reason."""
    return _ADVICE.get(
        code, "See the reason; correct the gateway or the registry, and release it if that cures it."
    )
