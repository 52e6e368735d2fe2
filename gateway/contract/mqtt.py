"""What both ends write of MQTT by themselves. Pure."""

_SEVEN_BITS = 0x7F
_MORE = 0x80


def encoded_length(number: int) -> bytes:
    """MQTT's number of variable length: seven bits a byte, the lowest first; a higher bit means that more follow.

    Parameters
    ----------
    number : int
        0 to 268,435,455, which takes four bytes. [byte]
    """
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
