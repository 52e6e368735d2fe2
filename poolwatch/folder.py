"""Where a deployment keeps its files: one folder, one place for each thing."""

from dataclasses import dataclass
from pathlib import Path

from gateway.contract.credentials import Credentials, parse_credentials
from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry


class FolderError(Exception):
    """Something that a command needs from its data folder is not there or not usable; says what to do."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths below a data folder."""

    root: Path

    @property
    def registry(self) -> Path:
        """Which pools exist: `pools.toml`."""
        return self.root / "pools.toml"

    @property
    def credentials(self) -> Path:
        """User names and passwords of gateways and of ingest; readable by its owner only."""
        return self.root / "credentials.toml"

    @property
    def broker(self) -> Path:
        """Configuration and memory of the broker."""
        return self.root / "broker"

    @property
    def pki(self) -> Path:
        """Certificates of the deployment's own authority, for TLS."""
        return self.root / "pki"

    @property
    def gateways(self) -> Path:
        """Outboxes of the gateways that run on this machine, each in a folder of its name."""
        return self.root / "gateways"

    def outbox(self, gateway_id: str) -> Path:
        """Outbox of one gateway."""
        return self.gateways / gateway_id / "outbox.sqlite"

    @property
    def journal(self) -> Path:
        """Every message as it came."""
        return self.root / "ingest" / "journal.sqlite"

    @property
    def public(self) -> Path:
        """Snapshots and the publication log."""
        return self.root / "public"

    @property
    def logs(self) -> Path:
        """What the demo's child processes say."""
        return self.root / "logs"

    def store_url(self, given: str | None) -> str:
        """Address of the store: as given, else the embedded one of this folder."""
        return given or f"sqlite:{self.root / 'store.sqlite'}"

    def read_registry(self) -> Registry:
        """Registry of this folder.

        Raises
        ------
        FolderError
            If it is absent, or has mistakes: all of them are named.
        """
        try:
            return parse_registry(self.registry.read_text(encoding="utf-8"))
        except OSError as error:
            raise FolderError(
                f"no registry at {self.registry}: {error.strerror}. Name the folder with --data-dir"
            ) from error
        except (ContractError, UnicodeDecodeError) as error:
            raise FolderError(f"{self.registry} cannot be used:\n{error}") from error

    def read_credentials(self) -> Credentials:
        """Credentials of this folder; FolderError if absent or faulty."""
        try:
            text = self.credentials.read_text(encoding="utf-8")
            return parse_credentials(text).beside(str(self.root.absolute()))
        except OSError as error:
            raise FolderError(f"no credentials at {self.credentials}: {error.strerror}") from error
        except (ContractError, UnicodeDecodeError) as error:
            raise FolderError(f"{self.credentials} cannot be used: {error}") from error
