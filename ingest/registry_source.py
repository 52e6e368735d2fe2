"""The registry in force: read from its file, again when that changes; a faulty new file changes nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from ingest.errors import RegistryUnusableError

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegistryVersion:
    """An accepted registry and its text."""

    registry: Registry
    text: str


class RegistrySource:
    """Follows a `pools.toml`.

    Parameters
    ----------
    path : Path
        The file.
    fallback : str, optional
        Text of the newest version accepted before; used if the file is faulty or absent at the start.

    Raises
    ------
    RegistryUnusableError
        If neither the file nor the fallback can be used.
    """

    def __init__(self, path: Path, *, fallback: str | None = None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._digest = b""
        self._has_mistakes = False
        self.refusals = 0
        #: Whether the file as it is now is not the registry in force: it has mistakes, or cannot be read.
        self.is_refused = False
        found = self._read_changed()
        if found is None and fallback is not None:
            try:
                found = RegistryVersion(parse_registry(fallback), fallback)
            except ContractError as error:
                _log.error("the registry kept in the store cannot be used", error=str(error))
            else:
                _log.warning("the last accepted registry stays in force", sha256=found.registry.sha256)
        if found is None:
            raise RegistryUnusableError(
                f"{path} cannot be used and the store remembers no registry: see `poolwatch registry check {path}`"
            )
        self.current = found

    def poll(self, before: Callable[[RegistryVersion], None] | None = None) -> RegistryVersion | None:
        """Look at the file; the new version if it changed into another one that can be used.

        `before` is given that version before it is in force. Any one thread may look; `current` may be read by all.
        """
        found = self._read_changed()
        if found is None or found.registry.sha256 == self.current.registry.sha256:
            return None
        if before is not None:
            before(found)
        self.current = found
        _log.info("a new registry is in force", sha256=found.registry.sha256, pools=len(found.registry.pools))
        return found

    def _read_changed(self) -> RegistryVersion | None:
        """Version of a file that changed since the last look; None if it did not, or cannot be used."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return None
            content = self._path.read_bytes()
        except OSError as error:
            if self._stamp is not None or not self._digest:
                self._refuse(f"cannot be read: {error.strerror}")
            self._stamp = None
            return None
        self._stamp = stamp
        digest = hashlib.sha256(content).digest()
        if digest == self._digest:
            self.is_refused = self._has_mistakes
            return None
        self._digest = digest
        try:
            text = content.decode("utf-8")
            found = RegistryVersion(parse_registry(text), text)
        except (ContractError, UnicodeDecodeError) as error:
            self._has_mistakes = True
            self._refuse(str(error))
            return None
        self.is_refused = self._has_mistakes = False
        return found

    def _refuse(self, reasons: str) -> None:
        self.refusals += 1
        self.is_refused = True
        _log.error(
            "the registry file is refused; the one before stays in force",
            file=str(self._path),
            reasons=reasons,
        )
