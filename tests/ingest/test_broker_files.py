import stat
import tomllib
from pathlib import Path

import pytest

from gateway.contract.credentials import Credential, Credentials
from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from ingest.broker import write_broker_files
from ingest.broker_config import BrokerPlace, acl_text, all_credentials, iotcore_toml, password_line


def test_password_line_is_the_one_of_mosquitto_passwd() -> None:
    # `mosquitto_passwd -c -b FILE u1 'pw one'` of Mosquitto 2.0.11 wrote this line.
    line = (
        "u1:$7$101$RUdJtiLl7lZfdMud$"
        "ZvxUZEOtfZkAsL1QrbWBAEXcgF5kD9uVHkuY/FzAA+fbx8g1PKxMfCirjKE80tDutd33NRPXDNjpthlNvsbfXA=="
    )
    salt = bytes.fromhex("454749b622e5ee565f74cb9d")
    assert password_line(Credential("u1", "pw one", "h", 1), salt=salt) == line


def test_a_gateway_may_write_its_own_topics_and_read_its_receipts(
    registry: Registry, credentials: Credentials
) -> None:
    assert acl_text(registry, credentials) == (
        "user gw-a\n"
        "topic write pools/north/gateways/gw-a/readings\n"
        "topic write pools/north/gateways/gw-a/logbook\n"
        "topic write gateways/gw-a/status\n"
        "topic read gateways/gw-a/stored\n"
        "\n"
        "user gw-b\n"
        "topic write pools/south/gateways/gw-b/readings\n"
        "topic write pools/south/gateways/gw-b/logbook\n"
        "topic write gateways/gw-b/status\n"
        "topic read gateways/gw-b/stored\n"
        "\n"
        "user poolwatch-ingest\n"
        "topic read pools/+/gateways/+/readings\n"
        "topic read pools/+/gateways/+/logbook\n"
        "topic read gateways/+/status\n"
        "topic write gateways/+/stored\n"
    )


def test_a_gateway_that_the_registry_does_not_name_may_do_nothing(registry: Registry) -> None:
    stranger = Credentials({"gw-x": Credential("gw-x", "p", "h", 1)}, {})
    assert "gw-x" not in acl_text(registry, stranger)


def test_iotcore_configuration_is_toml_with_every_password() -> None:
    odd = Credential("gw-a", 'a"b\\c\x7fü', "h", 1)
    text = iotcore_toml(BrokerPlace("127.0.0.1", 2000, "/x"), Credentials({"gw-a": odd}, {}))
    listener = tomllib.loads(text)["v4"]["1"]
    assert listener["listen"] == "127.0.0.1:2000"
    assert listener["connections"]["auth"] == {"gw-a": 'a"b\\c\x7fü'}
    assert listener["connections"]["max_payload_size"] == 262_144


@pytest.mark.parametrize("name", ["a b", "a:b", "a\nuser root", 'a"b'])
def test_a_user_name_cannot_break_out_of_its_line(name: str) -> None:
    with pytest.raises(ContractError, match="user name"):
        all_credentials(Credentials({"gw-a": Credential(name, "p", "h", 1)}, {}))


def test_a_user_name_is_there_once() -> None:
    same = Credential("gw-a", "p", "h", 1)
    with pytest.raises(ContractError, match="twice"):
        all_credentials(Credentials({"gw-a": same, "gw-b": same}, {}))


def test_files_are_for_their_owner_only(tmp_path: Path, registry: Registry, credentials: Credentials) -> None:
    folder = tmp_path / "broker"
    for _ in range(2):  # a second time over the first
        write_broker_files(folder, registry=registry, credentials=credentials, port=2000)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(("mosquitto.conf", "passwords", "acl", "iotcore.toml"), 0o600)
    assert credentials.gateways["gw-a"].password not in (folder / "passwords").read_text()
