"""Files that only their owner may read, replaced in one step: at no time half written or open to others."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace a file by `text`, mode 0600, on disk when this returns.

    Raises
    ------
    OSError
        If it cannot be written; the file before stays as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def make_private_folder(folder: Path) -> None:
    """Make a folder, or take an existing one, that only its owner may enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
