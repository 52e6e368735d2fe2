import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.credentials import Credential, Credentials, parse_credentials, render_credentials
from gateway.contract.errors import ContractError

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(st.dictionaries(texts, st.builds(Credential, texts, texts, texts, st.integers(1, 65535)), max_size=3))
def test_what_is_rendered_is_parsed_back(gateways: dict[str, Credential]) -> None:
    credentials = Credentials(gateways, {"ingest": Credential("a", "b", "c", 1)})
    assert parse_credentials(render_credentials(credentials)) == credentials


@pytest.mark.parametrize(
    "text", ["[gateways.g]\nusername = 'a'", "[gateways", "[gateways.g]\nport = 'x'", "x = 1"]
)
def test_a_faulty_file_says_what_each_table_needs(text: str) -> None:
    with pytest.raises(ContractError, match="needs username, password, host and port"):
        parse_credentials(text)
