"""What a client of the broker trusts, by its credential. Reads the authority's file, the only one of the contract."""

import ssl

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
