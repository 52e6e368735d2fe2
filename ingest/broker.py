"""Runs the broker: Mosquitto where it is installed, else iotcore, as a child process with configuration of ours."""

import ipaddress
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.registry import Registry
from ingest.broker_config import (
    MONITOR_SERVICE,
    BrokerPlace,
    acl_text,
    all_credentials,
    iotcore_toml,
    mosquitto_conf,
    password_line,
)
from ingest.broker_watch import BrokerWatch
from ingest.errors import BrokerError, PortTakenError
from ingest.port_holder import holder_of
from ingest.private_files import make_private_folder, write_private

MOSQUITTO = "mosquitto"
IOTCORE = "iotcore"
#: To be shown wherever the embedded broker is used.
EMBEDDED_BROKER_NOTICE = (
    "Mosquitto is not installed: the embedded broker iotcore keeps everything in memory and knows no access lists, so "
    "any gateway's credential can write any topic. Keep it on loopback; install Mosquitto for anything but a trial."
)

_LOOPBACK = "127.0.0.1"
#: Debian installs the broker outside an ordinary user's PATH.
_EXTRA_PATH = "/usr/sbin:/usr/local/sbin"
_SALT_BYTES = 12
_READY_WITHIN_S = 10.0
_PORT_FREE_WITHIN_S = 5.0
_END_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.1

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """What `write_broker_files` wrote, for `run_broker`."""

    folder: Path
    host: str
    port: int
    tls: bool = False

    @property
    def mosquitto_conf(self) -> Path:
        """Configuration of Mosquitto."""
        return self.folder / "mosquitto.conf"

    @property
    def iotcore_toml(self) -> Path:
        """Configuration of the embedded broker."""
        return self.folder / "iotcore.toml"


class _Child(Protocol):
    """A running broker."""

    def exit_code(self) -> int | None: ...

    def reload(self) -> None: ...

    def stop(self) -> None: ...


def broker_name() -> str:
    """``"mosquitto"`` where it is installed, else ``"iotcore"``."""
    return IOTCORE if _mosquitto_program() is None else MOSQUITTO


def write_broker_files(
    folder: Path,
    *,
    registry: Registry,
    credentials: Credentials,
    port: int,
    host: str = _LOOPBACK,
    server_pem: Path | None = None,
    private_network: bool = False,
    monitor: Credential | None = None,
) -> BrokerFiles:
    """Write configuration, passwords (hashed for Mosquitto) and access list, readable by their owner only.

    `server_pem`: certificate and key for TLS. `private_network`: only programs of ours reach `host`, so it may be another
    than loopback without TLS. `monitor`: who may hear what the broker says of itself.

    Raises
    ------
    ContractError
        If a user name is there twice or cannot stand in the broker's files.
    BrokerError
        If the folder's path cannot stand in them, or passwords would cross a network in the clear.
    """
    if server_pem is None and not private_network and not is_loopback(host):
        raise BrokerError(
            f"without TLS, passwords would cross the network in the clear on {host}: make certificates with `poolwatch pki "
            "init --name HOST`, or say --private-network if only containers of this machine reach that address"
        )
    folder = folder.resolve()
    server_pem = None if server_pem is None else server_pem.resolve()
    for path in (folder, server_pem):
        if not str(path).isprintable():
            raise BrokerError(f"the path {str(path)!r} has control characters: take another one")
    make_private_folder(folder)
    # Started by root, Mosquitto would become another user, who may not read what is written here.
    run_as = pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None
    place = BrokerPlace(
        host=host,
        port=port,
        folder=str(folder),
        run_as=run_as,
        server_pem=None if server_pem is None else str(server_pem),
    )
    if monitor is not None:
        credentials = Credentials(credentials.gateways, {**credentials.services, MONITOR_SERVICE: monitor})
    entries = all_credentials(credentials)
    passwords = [password_line(entry, salt=secrets.token_bytes(_SALT_BYTES)) for entry in entries]
    files = BrokerFiles(folder, host, port, tls=server_pem is not None)
    write_private(files.mosquitto_conf, mosquitto_conf(place))
    write_private(folder / "passwords", "\n".join(passwords) + "\n")
    write_private(folder / "acl", acl_text(registry, credentials))
    write_private(files.iotcore_toml, iotcore_toml(place, credentials))
    return files


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_host(host: str) -> str:
    """Address at which this machine reaches a broker that listens on `host`, which may stand for all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return _LOOPBACK if address.version == 4 else "::1"  # noqa: PLR2004 - of the Internet Protocol


def run_broker(
    files: BrokerFiles,
    stop: threading.Event,
    *,
    program: str | None = None,
    watch: BrokerWatch | None = None,
) -> int:
    """Run the broker until `stop` is set; `program` is `broker_name()`'s choice unless given.

    With a `watch`, the broker reads its files again whenever registry, credentials or certificate change.

    Returns
    -------
    int
        0 after `stop`; the broker's exit code, never 0, if it ended by itself.

    Raises
    ------
    PortTakenError
        If another program listens on the port; it is named.
    BrokerError
        If the program is absent, does not begin to listen, or cannot do what the files ask for.
    """
    program = program or broker_name()
    if program == IOTCORE and (files.tls or not is_loopback(files.host)):
        raise BrokerError(
            "the embedded broker has neither TLS nor access lists and stays on loopback: install Mosquitto, or start "
            "with --no-tls on 127.0.0.1"
        )
    _wait_for_port(files, stop)
    if stop.is_set():
        return 0
    child = _start_mosquitto(files) if program == MOSQUITTO else _start_iotcore(files)
    try:
        _wait_until_listening(files, child, stop)
        if child.exit_code() is None:
            _log.info("broker listens", program=program, host=files.host, port=files.port, tls=files.tls)
            if watch is not None:
                watch.told()
        while not stop.wait(_LOOK_EVERY_S):
            code = child.exit_code()
            if code is not None:
                _log.error("the broker ended by itself; it said why above", program=program, exit_code=code)
                return code or 1
            if watch is not None and watch.poll():
                child.reload()
                watch.told()
    finally:
        child.stop()
    _log.info("broker ended", program=program)
    return 0


class _Mosquitto:
    """Mosquitto as a child process, which the kernel kills if its parent is killed."""

    def __init__(self, files: BrokerFiles, program: str) -> None:
        arguments = [program, "-c", str(files.mosquitto_conf)]
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            # No orphan may keep the port from the parent's successor.
            arguments = [setpriv, "--pdeathsig", "KILL", *arguments]
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)

    def exit_code(self) -> int | None:
        return self._process.poll()

    def reload(self) -> None:
        """Let it read passwords, access list and certificate again; clients whose password is gone are disconnected."""
        self._process.send_signal(signal.SIGHUP)
        _log.info("the broker reads its files again")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _mosquitto_program() -> str | None:
    return shutil.which(MOSQUITTO, path=f"{os.environ.get('PATH', os.defpath)}:{_EXTRA_PATH}")


def _start_mosquitto(files: BrokerFiles) -> _Child:
    program = _mosquitto_program()
    if program is None:
        raise BrokerError("mosquitto is not installed, on PATH or in /usr/sbin: install it")
    return _Mosquitto(files, program)


def _start_iotcore(files: BrokerFiles) -> _Child:
    try:
        from ingest.embedded_broker import EmbeddedBroker
    except ImportError as error:
        raise BrokerError(
            "no broker: install Mosquitto, or the embedded one with the extra `demo` (pip install 'poolwatch[demo]')"
        ) from error
    _log.warning(EMBEDDED_BROKER_NOTICE)
    return EmbeddedBroker(files.iotcore_toml)


def _wait_for_port(files: BrokerFiles, stop: threading.Event) -> None:
    """Return when the port is free: a predecessor may still be ending."""
    deadline = time.monotonic() + _PORT_FREE_WITHIN_S
    while not _is_free(files.host, files.port):
        if time.monotonic() > deadline:
            raise PortTakenError(
                f"port {files.port} is held by {holder_of(files.port)}: end that, or give the broker another port"
            )
        if stop.wait(_LOOK_EVERY_S):
            return


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _wait_until_listening(files: BrokerFiles, child: _Child, stop: threading.Event) -> None:
    """Return when the broker accepts connections, has ended, or is not wanted any more."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while not stop.is_set():
        if child.exit_code() is not None:
            return  # the caller reports it
        try:
            with socket.create_connection((files.host, files.port), timeout=1):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"the broker does not listen on {files.host}:{files.port} after {_READY_WITHIN_S:.0f} s"
                ) from error
        stop.wait(_LOOK_EVERY_S / 2)
