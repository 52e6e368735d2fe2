"""Names of the certificates' files in a deployment's `pki/`: what broker and clients read needs no library."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PkiFiles:
    """A deployment's `pki/`."""

    folder: Path

    @property
    def bundle(self) -> Path:
        """Certificates of every authority that clients trust; public."""
        return self.folder / "ca.crt"

    @property
    def server(self) -> Path:
        """The broker's certificate and key in one file, so that a renewal replaces both in one step."""
        return self.folder / "server.pem"

    def authority(self, number: int) -> Path:
        """Certificate and key of the deployment's first, second … authority."""
        return self.folder / f"authority-{number}.pem"

    def authorities(self) -> list[Path]:
        """Authorities there are, the oldest first."""
        found: list[Path] = []
        while (path := self.authority(len(found) + 1)).exists():
            found.append(path)
        return found
