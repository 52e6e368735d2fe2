"""A deployment's own certificate authority: the only importer of cryptography (extra `pki`).

Keys are EC P-256. An authority signs the broker's certificate and nothing else.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ingest.errors import PkiError
from ingest.pki_files import PkiFiles
from ingest.private_files import make_private_folder, write_private

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 398
#: A gateway whose clock is behind must not take a new certificate for one of the future.
_BACKDATED_DAYS = 7
#: From here on a certificate is worth a warning.
WARN_DAYS = 30
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class CertificateView:
    """What people need to know of a certificate; `names` are those of a server."""

    path: Path
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_after_ms: int
    fingerprint: str

    def days_left(self, now_ms: int) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after_ms - now_ms) // _DAY_MS


@dataclass(frozen=True, slots=True)
class _Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> str:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate.public_bytes(Encoding.PEM).decode() + key.decode()


def create_pki(folder: Path, *, names: Sequence[str], now_ms: int) -> None:
    """Make an authority and the broker's certificate for `names` (host names, addresses).

    A start that was cut off is gone on with; a finished one is never overwritten.

    Raises
    ------
    PkiError
        If there are certificates already, or a name is none.
    """
    files = PkiFiles(folder)
    if files.server.exists():
        raise PkiError(
            f"{folder} has certificates: see them with `poolwatch pki show`, renew with `poolwatch pki renew`"
        )
    _alternative_names(names)  # a wrong name leaves nothing behind
    make_private_folder(folder)
    if not files.authorities():
        _write_authority(files, 1, now_ms)
    _write_bundle(files, now_ms)
    _write_server(files, _read(files.authority(1)), names=names, now_ms=now_ms)


def renew_server(folder: Path, *, now_ms: int, names: Sequence[str] = ()) -> None:
    """Replace the broker's key and certificate under the authority that signed the one before.

    `names` replaces its names; empty keeps them. Expired authorities leave the bundle.

    Raises
    ------
    PkiError
        If there is nothing to renew, a name is none, or the authority would expire before the new certificate.
    """
    files = PkiFiles(folder)
    server = _read(files.server)
    for path in files.authorities():
        authority = _read(path)
        if authority.certificate.subject == server.certificate.issuer:
            break
    else:
        raise PkiError(f"{files.server} was signed by no authority of {folder}: replace it as you made it")
    left_ms = _not_after_ms(authority.certificate) - now_ms
    if left_ms < _SERVER_DAYS * _DAY_MS:
        newest = files.authorities()[-1] == path
        step = "poolwatch pki rotate-ca" if newest else "poolwatch pki switch-ca"
        raise PkiError(
            f"the authority {path} expires in {left_ms // _DAY_MS} days, before a new certificate would: run `{step}`"
        )
    _write_server(files, authority, names=names or _names_of(server.certificate), now_ms=now_ms)
    _write_bundle(files, now_ms)


def rotate_authority(folder: Path, *, now_ms: int) -> None:
    """Make the next authority and put it beside the old one into the bundle; the broker's certificate stays.

    Clients need the new bundle before `switch_authority`.

    Raises
    ------
    PkiError
        If there are no certificates, or a newer authority waits for the switch.
    """
    files = PkiFiles(folder)
    server = _read(files.server)
    authorities = files.authorities()
    if authorities and _read(authorities[-1]).certificate.subject != server.certificate.issuer:
        raise PkiError(f"{authorities[-1]} is not in use yet: `poolwatch pki switch-ca` first")
    _write_authority(files, len(authorities) + 1, now_ms)
    _write_bundle(files, now_ms)


def switch_authority(folder: Path, *, now_ms: int) -> None:
    """Sign a new certificate of the broker by the newest authority; the bundle keeps the old one until it expires.

    Raises
    ------
    PkiError
        If the newest authority is in use already.
    """
    files = PkiFiles(folder)
    server = _read(files.server)
    authorities = files.authorities()
    newest = _read(authorities[-1]) if authorities else None
    if newest is None or newest.certificate.subject == server.certificate.issuer:
        raise PkiError("the newest authority is in use: make the next one with `poolwatch pki rotate-ca`")
    _write_server(files, newest, names=_names_of(server.certificate), now_ms=now_ms)
    _write_bundle(files, now_ms)


def read_certificates(folder: Path) -> list[CertificateView]:
    """The broker's certificate, then the authorities, the oldest first.

    Raises
    ------
    PkiError
        If there are none, or one cannot be read.
    """
    files = PkiFiles(folder)
    return [read_certificate(path) for path in (files.server, *files.authorities())]


def read_certificate(path: Path) -> CertificateView:
    """First certificate of a file.

    Raises
    ------
    PkiError
        If there is none.
    """
    certificate = _certificate(path)
    return CertificateView(
        path=path,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=tuple(_names_of(certificate)),
        not_after_ms=_not_after_ms(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _not_after_ms(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp() * 1000)


def _write_authority(files: PkiFiles, number: int, now_ms: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The number keeps the names of two authorities apart, by which chains are found.
    name = _name(f"poolwatch authority {number} {serial:x}"[:64])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, key, serial=serial, days=_AUTHORITY_DAYS, now_ms=now_ms)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(files.authority(number), _Identity(certificate, key).pem())


def _write_server(files: PkiFiles, authority: _Identity, *, names: Sequence[str], now_ms: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    serial = x509.random_serial_number()
    certificate = (
        _builder(_name("poolwatch broker"), key, serial=serial, days=_SERVER_DAYS, now_ms=now_ms)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    write_private(files.server, _Identity(certificate, key).pem())


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, serial: int, days: int, now_ms: int
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=_BACKDATED_DAYS))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _write_bundle(files: PkiFiles, now_ms: int) -> None:
    certificates = [_certificate(path) for path in files.authorities()]
    valid = [certificate for certificate in certificates if _not_after_ms(certificate) > now_ms]
    text = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in valid)
    write_private(files.bundle, text)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            plain = name.isascii() and name.replace("-", "").replace(".", "").isalnum()
            if not plain or name.startswith(("-", ".")) or name.replace(".", "").isdigit():
                raise PkiError(
                    f"{name!r} is no host name and no address: give the names under which gateways reach the broker"
                ) from None
            found.append(x509.DNSName(name))
    if not found:
        raise PkiError("a certificate needs at least one name or address of the broker")
    return found


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError as error:
        raise PkiError(f"no certificate at {path}: make them with `poolwatch pki init`") from error
    except (OSError, ValueError) as error:
        raise PkiError(f"{path} holds no certificate: {error}") from error


def _read(path: Path) -> _Identity:
    certificate = _certificate(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise PkiError(f"{path} holds no usable key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} holds a key that poolwatch did not make: renew it where it was made")
    return _Identity(certificate, key)
