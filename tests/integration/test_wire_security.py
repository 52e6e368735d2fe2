"""A deployment secured by commands alone, with a broker that is never started again."""

import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.contract.credentials import Credential, parse_credentials
from gateway.contract.errors import ContractError
from gateway.contract.tls import tls_context
from ingest.broker import MOSQUITTO, broker_name
from poolwatch.folder import DataFolder

pytest.importorskip("cryptography", reason="certificates need the extra `pki`")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(broker_name() != MOSQUITTO, reason="mosquitto is not installed"),
]
REGISTRY = """
schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.north]
venue = "hall"
name_zh = "北池"
name_en = "North"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[gateways.gw-a]
pools = ["north"]
"""
_WITHIN_S = 20.0


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {_WITHIN_S:.0f} s: {what}"
        time.sleep(0.05)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(folder: DataFolder, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "poolwatch", *arguments, "--data-dir", str(folder.root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A deployment with TLS, an ingest and one gateway, made by the commands."""
    folder = DataFolder(tmp_path)
    folder.registry.write_text(REGISTRY, encoding="utf-8")
    run(folder, "pki", "init", "--name", "broker.example")
    run(folder, "credentials", "add", "ingest", "--service", "--port", str(_port()))
    run(folder, "credentials", "add", "gw-a")
    return folder


@contextmanager
def _broker(folder: DataFolder, *more: str) -> Iterator[Path]:
    log = folder.root / "broker.log"
    port = str(folder.read_credentials().services["ingest"].port)
    command = ("broker", "--data-dir", str(folder.root), "--port", port, *more)
    arguments = [sys.executable, "-m", "poolwatch", *command]
    with log.open("wb") as file:
        process = subprocess.Popen(arguments, stdout=file, stderr=file)
    try:
        _until((folder.broker / "credentials.sha256").exists, "the broker listens")
        yield log
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)
    assert not (folder.broker / "credentials.sha256").exists()


class Device:
    """A gateway's client; says whether the broker took it, and when it cut it."""

    def __init__(self, credential: Credential) -> None:
        self.taken: bool | None = None
        self.client = Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
        self.client.username_pw_set(credential.username, credential.password)
        context = tls_context(credential)
        if context is not None:
            self.client.tls_set_context(context)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: setattr(self, "taken", not reason.is_failure)
        self.client.connect(credential.host, credential.port)
        self.client.loop_start()
        _until(lambda: self.taken is not None, "an answer of the broker")

    def writes(self, topic: str) -> bool:
        answers: list[bool] = []
        self.client.on_publish = lambda _c, _u, _m, reason, _p: answers.append(not reason.is_failure)
        self.client.publish(topic, b"{}", qos=1)
        _until(lambda: bool(answers) or not self.client.is_connected(), "an answer to a publication")
        return answers == [True]

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def device() -> Iterator[Callable[[Credential], Device]]:
    devices: list[Device] = []

    def build(credential: Credential) -> Device:
        devices.append(Device(credential))
        return devices[-1]

    yield build
    for each in devices:
        each.leave()


def test_gateways_are_added_rotated_and_revoked_while_the_broker_runs(
    folder: DataFolder, device: Callable[[Credential], Device]
) -> None:
    with _broker(folder):
        bystander = device(folder.read_credentials().services["ingest"])
        first = device(folder.read_credentials().gateways["gw-a"])
        assert first.writes("gateways/gw-a/status")
        said = run(folder, "credentials", "add", "gw-b")
        assert "may do nothing until" in said
        assert "the running broker has taken it" in said
        early = device(folder.read_credentials().gateways["gw-b"])
        assert early.taken
        assert not early.writes("gateways/gw-b/status")
        # Its pools come with the registry, which the broker follows too.
        folder.registry.write_text(f'{REGISTRY}[gateways.gw-b]\npools = ["north"]\n', encoding="utf-8")
        _until(lambda: "user gw-b" in (folder.broker / "acl").read_text(), "the access list follows")
        b = folder.read_credentials().gateways["gw-b"]
        _until(lambda: device(b).writes("pools/north/gateways/gw-b/readings"), "a new gateway may write")

        old = folder.read_credentials().gateways["gw-a"]
        printed = run(folder, "credentials", "rotate", "gw-a")
        _until(lambda: not first.client.is_connected(), "the old password is cut")
        assert not device(old).taken
        new = folder.read_credentials().gateways["gw-a"]
        assert new.password in printed
        assert device(new).taken

        second = device(b)
        run(folder, "credentials", "revoke", "gw-b")
        _until(lambda: not second.client.is_connected(), "a revoked gateway is cut")
        assert not device(b).taken
        assert bystander.client.is_connected()


def test_a_faulty_file_changes_nothing_of_a_running_broker(
    folder: DataFolder, device: Callable[[Credential], Device]
) -> None:
    gateway = folder.read_credentials().gateways["gw-a"]
    with _broker(folder) as log:
        folder.credentials.write_text("[gateways", encoding="utf-8")
        folder.registry.write_text("schema = 9", encoding="utf-8")
        _until(lambda: log.read_text().count("refused") >= 2, "both files are refused")
        assert device(gateway).writes("gateways/gw-a/status")


def test_a_renewed_certificate_and_a_new_authority_need_no_restart(
    folder: DataFolder, device: Callable[[Credential], Device]
) -> None:
    entry = folder.read_credentials().gateways["gw-a"]
    old_trust = tls_context(entry)
    assert old_trust is not None

    def served() -> bytes:
        open_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        open_context.check_hostname = False
        open_context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection((entry.host, entry.port), 5) as plain,
            open_context.wrap_socket(plain) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""

    def reaches(context: ssl.SSLContext, name: str) -> bool:
        with socket.create_connection((entry.host, entry.port), 5) as plain:
            try:
                context.wrap_socket(plain, server_hostname=name).close()
            except ssl.SSLCertVerificationError:
                return False
            return True

    with _broker(folder):
        held = device(entry)
        assert reaches(old_trust, "broker.example")
        assert not reaches(old_trust, "elsewhere.example")
        before = served()
        run(folder, "pki", "renew")
        _until(lambda: served() != before, "the renewed certificate is served")
        assert reaches(old_trust, "broker.example")
        run(folder, "pki", "rotate-ca")
        both = tls_context(entry)
        assert both is not None
        assert reaches(both, "127.0.0.1")
        before = served()
        run(folder, "pki", "switch-ca")
        _until(lambda: served() != before, "the new authority's certificate is served")
        assert reaches(both, "127.0.0.1")
        assert not reaches(old_trust, "127.0.0.1")
        assert held.client.is_connected()
        weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        weak.check_hostname = False
        weak.verify_mode = ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            weak.minimum_version = weak.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection((entry.host, entry.port), 5) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            weak.wrap_socket(plain)
    assert run(folder, "pki", "show").count("expires") == 3


def test_ingest_and_a_gateway_meet_over_tls(folder: DataFolder) -> None:
    with _broker(folder):
        log = folder.root / "ingest.log"
        with log.open("wb") as file:
            ingest = subprocess.Popen(
                [sys.executable, "-m", "poolwatch", "ingest", "--data-dir", str(folder.root)],
                stdout=file,
                stderr=file,
            )
        try:
            _until(lambda: "connected to the broker" in log.read_text(), "ingest connects")
            arguments = ("test", "--pool", "north", "--by", "Li", "--fc", "0.5", "--gateway", "gw-a")
            assert "it is in the journal" in run(folder, *arguments)
        finally:
            ingest.terminate()
            ingest.wait(20)


def test_the_monitor_hears_the_broker_over_tls(folder: DataFolder) -> None:
    port = _port()

    def told() -> dict[str, float]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(number) for name, number in (line.split() for line in lines if line[0] != "#")}

    with _broker(folder, "--monitor-port", str(port)):
        _until(lambda: told().get("poolwatch_broker_uptime_s", 0.0) > 0, "the broker speaks of itself")
        assert told()["poolwatch_broker_certificate_days_left"] > 30
        assert "poolwatch-monitor" in (folder.broker / "passwords").read_text()
        # Credentials that change are written with the monitor's beside them, and it stays connected.
        run(folder, "credentials", "rotate", "gw-a")
        assert "poolwatch-monitor" in (folder.broker / "passwords").read_text()
        assert told()["poolwatch_broker_reloads_total"] >= 1
        before_s = told()["poolwatch_broker_uptime_s"]
        _until(lambda: told()["poolwatch_broker_uptime_s"] > before_s, "it speaks on")


def test_passwords_are_shown_when_made_and_exported_and_never_listed(folder: DataFolder) -> None:
    credentials = folder.read_credentials()
    secrets = [entry.password for entry in (*credentials.gateways.values(), *credentials.services.values())]
    listed = run(folder, "credentials", "list")
    assert not any(secret in listed for secret in secrets)
    assert re.search(r"gateway  gw-a  gw-a at 127\.0\.0\.1:\d+ \(TLS\)  north", listed)
    exported = parse_credentials(run(folder, "credentials", "export", "gw-a"))
    assert exported.gateways["gw-a"].password == credentials.gateways["gw-a"].password
    assert exported.gateways["gw-a"].ca_file == "pki/ca.crt"
    assert not exported.services
    assert folder.credentials.stat().st_mode & 0o777 == 0o600
    run(folder, "credentials", "add", "ingest-2", "--service")
    groups = {entry.share_group for entry in folder.read_credentials().services.values()}
    assert len(groups) == 1
    assert re.fullmatch(r"ingest-[0-9a-f]{32}", groups.pop() or "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("credentials", "add", "gw-a"), "credentials rotate gw-a"),
        (("credentials", "add", "GW A"), "lower-case"),
        (("credentials", "revoke", "gw-x"), "no credentials; there are: gw-a"),
        (("pki", "init"), "pki renew"),
        (("pki", "switch-ca"), "pki rotate-ca"),
        (("broker", "--host", "0.0.0.0", "--no-tls"), "--private-network"),  # noqa: S104 - refused, which is tested
    ],
)
def test_a_refusal_says_what_to_do(folder: DataFolder, arguments: tuple[str, ...], says: str) -> None:
    before = folder.credentials.read_bytes()
    assert says in run(folder, *arguments, code=2)
    assert folder.credentials.read_bytes() == before


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    for name in ("ca.crt", "absent.crt"):
        entry = Credential("g", "p", "h", 1, tls=True, ca_file=os.fspath(tmp_path / name))
        with pytest.raises(ContractError, match=name):
            tls_context(entry)
    assert tls_context(Credential("g", "p", "h", 1)) is None
