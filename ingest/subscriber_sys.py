"""What Mosquitto says of itself, under `$SYS/broker/`: heard on a connection of its own, so that nobody need be asked."""

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.credentials import Credential

PREFIX = "$SYS/broker/"
_KEEPALIVE_S = 30
#: Between two attempts to connect. [s]
_FIRST_RETRY_S, _LAST_RETRY_S = 1, 10


class SysReader:
    """Hears a broker's figures in the background until `close`; numbers by topic, without the prefix.

    Parameters
    ----------
    credential : Credential
        Its own user, who may read these topics and nothing else.
    ca_file : Path, optional
        Authorities that may have signed the broker's certificate; None: no TLS. Its name is not looked at: this is our own
        child, at the address where we had it listen, which may be one that no certificate names.
    """

    def __init__(self, credential: Credential, *, ca_file: Path | None = None) -> None:
        self._numbers: dict[str, float] = {}
        self._heard_at_s = time.monotonic()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=credential.username)
        self._client.username_pw_set(credential.username, credential.password)
        if ca_file is not None:
            context = ssl.create_default_context(cafile=ca_file)
            context.check_hostname = False
            self._client.tls_set_context(context)
        self._client.reconnect_delay_set(_FIRST_RETRY_S, _LAST_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async(credential.host, credential.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, _reason: Any, _properties: Any
    ) -> None:
        client.subscribe(f"{PREFIX}#", qos=0)

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        # "17", "0.50", and of the uptime "17 seconds"; the version is no number, and nothing of it is needed.
        text = message.payload.decode("utf-8", "replace").split(" ", 1)[0]
        self._heard_at_s = time.monotonic()
        try:
            number = float(text)
        except ValueError:
            return
        self._numbers[message.topic.removeprefix(PREFIX)] = number

    @property
    def numbers(self) -> Mapping[str, float]:
        """What was heard last, as ``clients/connected``."""
        return dict(self._numbers)

    @property
    def has_spoken(self) -> bool:
        """Whether anything was heard yet."""
        return bool(self._numbers)

    @property
    def silent_s(self) -> float:
        """Since something was heard last, or the beginning. [s]"""
        return time.monotonic() - self._heard_at_s

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
