"""Which TCP port to listen on: the default or the next free one; or the one given by hand, or a refusal."""

import socket

from ingest.port_holder import holder_of

_LOOPBACK = "127.0.0.1"
#: How far above a taken default to look for a free port.
_SEARCH_SPAN = 100


class PortTakenError(Exception):
    """A port that was asked for is held by another program."""


def _is_free(port: int, host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose_port(*, given: int | None, default: int, option: str, host: str = _LOOPBACK) -> int:
    """Port to listen on: `given`, else `default` or the first free one above it.

    Raises
    ------
    PortTakenError
        If `given` is taken, or no port is free.
    """
    if given is not None:
        if not _is_free(given, host):
            raise PortTakenError(
                f"port {given} ({option}) is held by {holder_of(given)}: end that, or give another port"
            )
        return given
    for port in range(default, default + _SEARCH_SPAN):
        if _is_free(port, host):
            return port
    raise PortTakenError(
        f"no free port between {default} and {default + _SEARCH_SPAN - 1}: give one with {option}"
    )
