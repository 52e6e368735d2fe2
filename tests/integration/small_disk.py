"""A folder as a small file system of its own, so that it can be full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.fault_bench import Bench


@contextmanager
def mounted_small(folder: Path, bench: Bench) -> Iterator[Path]:
    """Mount 4 MiB on a folder that is not there yet; the bench, whose files lie there, is closed before they go."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("a tmpfs cannot be mounted here: needs root and mount")
    yield folder
    bench.close()
    subprocess.run(["umount", "-l", str(folder)], check=True)
