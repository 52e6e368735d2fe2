"""Which TCP port to listen on: the default or the next free one; a port given by hand, or a refusal that names its holder."""

import shutil
import socket
import subprocess

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


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    ss = shutil.which("ss")
    if ss is None:
        return "another program"
    listing = subprocess.run(
        [ss, "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False
    ).stdout
    _, found, rest = listing.partition('users:(("')
    name, _, rest = rest.partition('"')
    pid = rest.partition("pid=")[2].partition(",")[0]
    return f"{name} (process {pid})" if found else "another program"


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
                f"port {given} ({option}) is held by {_holder(given)}: end that, or give another port"
            )
        return given
    for port in range(default, default + _SEARCH_SPAN):
        if _is_free(port, host):
            return port
    raise PortTakenError(
        f"no free port between {default} and {default + _SEARCH_SPAN - 1}: give one with {option}"
    )
