"""What a client of the broker trusts, by its credential. Reads the authority's file, the only one of the contract."""

import ssl
from typing import Any

from gateway.contract.credentials import Credential
from gateway.contract.errors import ContractError


def tls_context(credential: Credential) -> ssl.SSLContext | None:
    """TLS settings of a connection to the broker: TLS 1.2 or later, chain and host name checked.

    Parameters
    ----------
    credential : Credential
        With `tls` true the connection is encrypted. `ca_file` names the authorities that are trusted; without it those
        of the operating system.

    Returns
    -------
    ssl.SSLContext or None
        None if the credential asks for no TLS.

    Raises
    ------
    ContractError
        If `ca_file` cannot be read or holds no certificate.
    """
    if not credential.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if credential.ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=credential.ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ContractError(
            f"credentials: ca_file {credential.ca_file!r} of {credential.username!r} cannot be used: {error}. It "
            "must be the broker's pki/ca.crt"
        ) from error
    return context


def shake_hands(context: ssl.SSLContext, connected: Any, *, host: str, within_s: float) -> ssl.SSLSocket:
    """Begin TLS on a connected socket, which is owned from here on: it is closed if that fails.

    Parameters
    ----------
    connected : socket.socket
        Connected to the broker.
    host : str
        Name that the broker's certificate must have.
    within_s : float
        For each answer of the broker. [s]

    Raises
    ------
    OSError
        If there is no TLS at the other end, or not the right certificate; ssl.SSLError is one.
    """
    secured = connected
    try:
        secured = context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
        secured.settimeout(within_s)
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured
