"""What is shipped is whole: the wheel has every module and data file, and imports from an empty folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("gateway", "ingest", "analytics", "dashboards", "simulators", "poolwatch")

_IMPORT_ALL = """
import importlib, pkgutil, sys
from pathlib import Path
root = Path(sys.argv[1])
count = 0
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    assert Path(package.__file__).is_relative_to(root), package.__file__
    for found in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not found.name.endswith(("__main__", "embedded_broker")):
            importlib.import_module(found.name)
            count += 1
from analytics.standards.profile import known_profiles, load_profile
for profile in known_profiles():
    load_profile(profile)
from dashboards.public.pages import make_environment
make_environment().get_template("index.html")
print(count)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=pytestconfig.rootpath,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_file_of_the_packages_is_in_the_wheel(unpacked: Path, pytestconfig: pytest.Config) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=pytestconfig.rootpath, check=False, capture_output=True, text=True
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    missing = [name for name in tracked.stdout.split() if not (unpacked / name).exists()]
    assert missing == []
    assert not (unpacked / "tests").exists()


def test_the_wheel_imports_from_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, str(unpacked), *PACKAGES],
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
