"""Where a deployment keeps its files: one folder, one place for each thing."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from gateway.contract.credentials import Credential, Credentials, parse_credentials
from gateway.contract.errors import ContractError
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from gateway.errors import OutboxError
from gateway.outbox_file import read_account
from gateway.outbox_records import OutboxAccount


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
    def influx(self) -> Path:
        """One address file for each service, as `poolwatch influx init` writes them."""
        return self.root / "influx"

    @property
    def gateways(self) -> Path:
        """Outboxes of the gateways that run on this machine, each in a folder of its name."""
        return self.root / "gateways"

    def outbox(self, gateway_id: str) -> Path:
        """Outbox of one gateway."""
        return self.gateways / gateway_id / "outbox.sqlite"

    @property
    def journal(self) -> Path:
        """Every message as it came: the folder of the only ingest's journal."""
        return self.journal_of(None)

    def journal_of(self, member: str | None) -> Path:
        """Folder of the journal of one of several ingests; None: of the only one."""
        return self.root / ("ingest" if member is None else f"ingest-{member}") / "journal"

    def journals(self) -> list[Path]:
        """Folders of all journals that are here."""
        return sorted(
            place for place in self.root.glob("ingest*/journal") if (place / "state.sqlite").exists()
        )

    def outboxes(self) -> dict[str, OutboxAccount]:
        """Accounts of the outboxes that are here, by gateway."""
        found = {}
        if self.gateways.is_dir():
            for place in sorted(self.gateways.iterdir()):
                with contextlib.suppress(OutboxError):  # a folder without an outbox has sent nothing
                    found[place.name] = read_account(self.outbox(place.name))
        return found

    @property
    def reconciled(self) -> Path:
        """How `poolwatch reconcile` last ended."""
        return self.root / "reconciled.json"

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

    def service_credential(self, name: str) -> Credential:
        """Credential of a service; FolderError if there is none."""
        credential = self.read_credentials().services.get(name)
        if credential is None:
            raise FolderError(
                f"no [services.{name}] in {self.credentials}: `poolwatch credentials add-service {name}` makes it"
            )
        return credential

    def read_credentials(self) -> Credentials:
        """Credentials of this folder; FolderError if absent or faulty."""
        try:
            text = self.credentials.read_text(encoding="utf-8")
            return parse_credentials(text).beside(str(self.root.absolute()))
        except OSError as error:
            raise FolderError(f"no credentials at {self.credentials}: {error.strerror}") from error
        except (ContractError, UnicodeDecodeError) as error:
            raise FolderError(f"{self.credentials} cannot be used: {error}") from error
