"""The fault matrix names tests that exist, and every fault test is in it."""

import re
from pathlib import Path

import pytest


def test_the_matrix_and_the_tests_name_each_other(pytestconfig: pytest.Config) -> None:
    root = Path(pytestconfig.rootpath)
    text = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    files = list((root / "tests").rglob("test_*.py"))
    written = {
        name: path
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= set(written)
    of_faults = {name for name, path in written.items() if path.name.startswith("test_faults_")}
    assert of_faults <= named
    assert all((root / path).exists() for path in re.findall(r"`(tests/[\w/]+\.py)`", text))
