"""Keeps a running broker's files as registry, credentials and certificate say, and says which credentials are in force.

The files are followed, so that no command needs to reach into another process: one that runs elsewhere, in a container
for instance, changes the file and sees here when it holds.
"""

import fcntl
import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from gateway.contract.counting import counted
from gateway.contract.credentials import Credentials, parse_credentials
from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from gateway.contract.times import Clock
from ingest.errors import BrokerError, PkiError
from ingest.private_files import make_private_folder, write_private
from ingest.registry_source import RegistrySource

_LOCK = "lock"
_IN_FORCE = "credentials.sha256"
_LOOK_EVERY_S = 0.5
_LOCK_WITHIN_S = 5.0
_WARN_EVERY_MS = 24 * 3600 * 1000

_log = structlog.get_logger()


def digest_of(text: str) -> str:
    """Name of a version of `credentials.toml`."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Watched:
    """The files that decide what the broker allows; `server_pem` is None without TLS."""

    registry: Path
    credentials: Path
    server_pem: Path | None = None


@dataclass(slots=True)
class WatchFigures:
    """What operators watch of the files that decide what the broker allows."""

    reloads: int = counted("Times that the broker was told to read its files again.")
    registry_refused: int = counted("Whether pools.toml as it is now is not in force.", kind="gauge")
    credentials_refused: int = counted("Whether credentials.toml as it is now is not in force.", kind="gauge")
    files_unwritten: int = counted("Whether the broker's files could not be written.", kind="gauge")
    certificate_days_left: float = counted(
        "Days until the broker's certificate ends; NaN: no TLS, or not known.", start=math.nan, kind="gauge"
    )


class BrokerWatch:
    """Follows the files of one broker; as a context it holds the folder's lock.

    Parameters
    ----------
    folder : Path
        The broker's folder.
    watched : Watched
        What is followed.
    write : callable
        Writes the broker's files for a registry and credentials.
    clock : Clock
        For warnings of a certificate's end, once a day.

    Raises
    ------
    RegistryUnusableError, ContractError
        If a file cannot be used at the start. Later a faulty file changes nothing and is logged.
    """

    def __init__(
        self,
        folder: Path,
        watched: Watched,
        *,
        write: Callable[[Registry, Credentials], object],
        clock: Clock,
    ) -> None:
        self._folder = folder
        self._watched = watched
        self._write = write
        self._clock = clock
        self._registry = RegistrySource(watched.registry)
        self._seen = _stamp(watched.credentials)
        self._text = watched.credentials.read_text(encoding="utf-8")
        self._credentials = parse_credentials(self._text)
        self._server_seen = _stamp(watched.server_pem)
        self._next_look_s = 0.0
        self._next_warning_ms = 0
        self._lock = -1
        self.figures = WatchFigures()

    def __enter__(self) -> Self:
        make_private_folder(self._folder)
        self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LOCK_WITHIN_S
        while not _try_lock(self._lock):
            if time.monotonic() > deadline:
                os.close(self._lock)
                raise BrokerError(
                    f"a broker runs on {self._folder} already: end that one, or take another data folder"
                )
            time.sleep(_LOOK_EVERY_S / 10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self._folder / _IN_FORCE).unlink(missing_ok=True)
        os.close(self._lock)

    def write_files(self) -> None:
        """Write the broker's files by what holds now.

        Raises
        ------
        ContractError
            If a user name is there twice or cannot stand in the broker's files.
        """
        self._write(self._registry.current.registry, self._credentials)

    def poll(self) -> bool:
        """Look at the files, twice a second at most; whether the broker has to read its own again."""
        if time.monotonic() < self._next_look_s:
            return False
        self._next_look_s = time.monotonic() + _LOOK_EVERY_S
        self._warn_of_expiry()
        renewed = self._certificate_changed()
        changed = self._registry.poll() is not None
        self.figures.registry_refused = int(self._registry.is_refused)
        changed = self._credentials_changed() or changed
        if changed:
            try:
                self.write_files()
            except (ContractError, OSError) as error:
                _log.error(
                    "the broker's files cannot be renewed; those before stay in force", reason=str(error)
                )
                self.figures.files_unwritten = 1
                self._seen = None  # looked at again, so that a full disk is not the end of it
                return renewed
            self.figures.files_unwritten = 0
        self.figures.reloads += changed or renewed
        return changed or renewed

    def told(self) -> None:
        """Note that the broker has been given what holds now, for the commands that wait for it."""
        write_private(self._folder / _IN_FORCE, digest_of(self._text) + "\n")

    def _credentials_changed(self) -> bool:
        stamp = _stamp(self._watched.credentials)
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        try:
            text = self._watched.credentials.read_text(encoding="utf-8")
            credentials = parse_credentials(text)
        except (OSError, UnicodeDecodeError, ContractError) as error:
            _log.error("the credentials are refused; those before stay in force", reason=str(error))
            self.figures.credentials_refused = 1
            return False
        self.figures.credentials_refused = 0
        self._text, self._credentials = text, credentials
        return True

    def _certificate_changed(self) -> bool:
        stamp = _stamp(self._watched.server_pem)
        if stamp is None or stamp == self._server_seen:
            return False
        self._server_seen = stamp
        self._next_warning_ms = 0
        _log.info("the broker's certificate was renewed", file=str(self._watched.server_pem))
        return True

    def _warn_of_expiry(self) -> None:
        now_ms = self._clock()
        if self._watched.server_pem is None or now_ms < self._next_warning_ms:
            return
        self._next_warning_ms = now_ms + _WARN_EVERY_MS
        try:
            from ingest.pki import WARN_DAYS, read_certificate
        except ImportError:
            _log.warning("nobody watches the certificate's end here: install the extra `pki`")
            return
        try:
            days = read_certificate(self._watched.server_pem).days_left(now_ms)
        except PkiError as error:
            _log.error("the broker's certificate cannot be read", reason=str(error))
            return
        self.figures.certificate_days_left = days
        if days < WARN_DAYS:
            _log.warning("the broker's certificate ends soon: run `poolwatch pki renew`", days_left=days)


def wait_until_in_force(folder: Path, text: str, *, within_s: float = 10.0) -> bool | None:
    """Wait until the broker that runs on a folder has been given a text of credentials.

    Returns
    -------
    bool or None
        None if no broker runs there; False if it has not taken the text within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while _is_running(folder):
        try:
            if (folder / _IN_FORCE).read_text(encoding="utf-8").strip() == digest_of(text):
                return True
        except FileNotFoundError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S / 10)
    return None


def _is_running(folder: Path) -> bool:
    """A lock needs no check whether a number still names the same process: it ends with its holder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
