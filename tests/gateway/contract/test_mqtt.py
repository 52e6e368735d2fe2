import pytest

from gateway.contract.mqtt import encoded_length


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_lengths_are_written_as_the_standard_says(number: int, encoded: str) -> None:
    """MQTT 3.1.1, table 2.4: size of Remaining Length field."""
    assert encoded_length(number).hex() == encoded
