import os
from pathlib import Path

import pytest

from ingest.errors import RegistryUnusableError
from ingest.registry_source import RegistrySource


def _write(path: Path, text: str, *, mtime_s: int) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (mtime_s, mtime_s))


def test_a_changed_file_is_a_new_version_and_a_touched_one_is_not(tmp_path: Path, registry_text: str) -> None:
    path = tmp_path / "pools.toml"
    _write(path, registry_text, mtime_s=1)
    source = RegistrySource(path)
    assert source.poll() is None
    _write(path, registry_text, mtime_s=2)
    assert source.poll() is None
    changed = registry_text.replace("North", "Upper")
    _write(path, changed, mtime_s=3)
    found = source.poll()
    assert found is not None
    assert found.text == changed
    assert source.current.registry.pools["north"].name_en == "Upper"
    assert source.poll() is None


@pytest.mark.parametrize("fault", ["schema = 2", "\x00", "[pools.north]\nvenue = 'nowhere'"])
def test_a_faulty_file_changes_nothing(tmp_path: Path, registry_text: str, fault: str) -> None:
    path = tmp_path / "pools.toml"
    _write(path, registry_text, mtime_s=1)
    source = RegistrySource(path)
    _write(path, fault, mtime_s=2)
    assert source.poll() is None
    assert source.poll() is None
    assert source.refusals == 1
    assert source.current.text == registry_text
    path.unlink()
    assert source.poll() is None
    _write(path, registry_text.replace("North", "Upper"), mtime_s=4)
    assert source.poll() is not None


def test_a_faulty_file_at_the_start_leaves_the_last_accepted_version(
    tmp_path: Path, registry_text: str
) -> None:
    path = tmp_path / "pools.toml"
    _write(path, "schema = 2", mtime_s=1)
    assert RegistrySource(path, fallback=registry_text).current.text == registry_text
    with pytest.raises(RegistryUnusableError, match="registry check"):
        RegistrySource(path)
    with pytest.raises(RegistryUnusableError):
        RegistrySource(tmp_path / "absent.toml", fallback="schema = 3")
