import shutil
import stat
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="certificates need the extra `pki`")

from ingest.errors import PkiError
from ingest.pki import (
    create_pki,
    read_certificate,
    read_certificates,
    renew_server,
    rotate_authority,
    switch_authority,
)
from ingest.pki_files import PkiFiles

DAY_MS = 86_400_000
NOW_MS = 1_782_892_800_000


@pytest.fixture
def files(tmp_path: Path) -> PkiFiles:
    create_pki(tmp_path / "pki", names=["broker.example", "10.0.0.7"], now_ms=NOW_MS)
    return PkiFiles(tmp_path / "pki")


def test_certificates_carry_names_and_are_for_their_owner_only(files: PkiFiles) -> None:
    server, authority = read_certificates(files.folder)
    assert server.names == ("broker.example", "10.0.0.7")
    assert server.issuer == authority.subject
    assert (server.days_left(NOW_MS), authority.days_left(NOW_MS)) == (398, 3650)
    assert server.days_left(NOW_MS + 399 * DAY_MS) == -1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in files.bundle.read_text()


def test_openssl_accepts_the_chain(files: PkiFiles) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    arguments = ["-attime", str(NOW_MS // 1000), "-x509_strict", "-purpose", "sslserver"]
    names = ["-verify_hostname", "broker.example"]
    command = [openssl, "verify", *arguments, *names, "-CAfile", str(files.bundle), str(files.server)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    command[command.index("broker.example")] = "other.example"
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_nothing_is_overwritten(files: PkiFiles) -> None:
    before = {path.name: path.read_bytes() for path in files.folder.iterdir()}
    with pytest.raises(PkiError, match="pki renew"):
        create_pki(files.folder, names=["x"], now_ms=NOW_MS)
    assert {path.name: path.read_bytes() for path in files.folder.iterdir()} == before


def test_a_beginning_that_was_cut_off_is_gone_on_with(files: PkiFiles) -> None:
    authority = files.authority(1).read_bytes()
    files.server.unlink()
    create_pki(files.folder, names=["x"], now_ms=NOW_MS)
    assert files.authority(1).read_bytes() == authority
    assert read_certificate(files.server).names == ("x",)


@pytest.mark.parametrize("name", ["", "a b", "*.example", "a\nb", "1.2.3", "-x", "пул.example"])
def test_a_name_that_is_none_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(PkiError, match="host name"):
        create_pki(tmp_path / "pki", names=[name], now_ms=NOW_MS)
    assert not (tmp_path / "pki").exists()


def test_a_renewal_keeps_authority_and_names_unless_told(files: PkiFiles) -> None:
    before = read_certificates(files.folder)
    renew_server(files.folder, now_ms=NOW_MS + 300 * DAY_MS)
    after = read_certificates(files.folder)
    assert after[1] == before[1]
    assert after[0].names == before[0].names
    assert after[0].fingerprint != before[0].fingerprint
    assert after[0].days_left(NOW_MS) == 698
    renew_server(files.folder, now_ms=NOW_MS, names=["other.example"])
    assert read_certificate(files.server).names == ("other.example",)


def test_a_new_authority_is_trusted_before_it_signs_and_the_old_one_until_it_expires(files: PkiFiles) -> None:
    later_ms = NOW_MS + 3000 * DAY_MS
    with pytest.raises(PkiError, match="rotate-ca"):
        switch_authority(files.folder, now_ms=NOW_MS)
    signed = files.server.read_bytes()
    rotate_authority(files.folder, now_ms=later_ms)
    assert files.server.read_bytes() == signed
    assert files.bundle.read_text().count("BEGIN") == 2
    with pytest.raises(PkiError, match="switch-ca"):
        rotate_authority(files.folder, now_ms=later_ms)
    with pytest.raises(PkiError, match=r"expires in .* run `poolwatch pki switch-ca`"):
        renew_server(files.folder, now_ms=NOW_MS + 3600 * DAY_MS)
    switch_authority(files.folder, now_ms=later_ms)
    server, first, second = read_certificates(files.folder)
    assert first.subject != second.subject
    assert server.issuer == second.subject
    assert files.bundle.read_text().count("BEGIN") == 2
    renew_server(files.folder, now_ms=NOW_MS + 3651 * DAY_MS)
    assert files.bundle.read_text().count("BEGIN") == 1


def test_an_authority_never_signs_beyond_its_own_end(files: PkiFiles) -> None:
    with pytest.raises(PkiError, match=r"run `poolwatch pki rotate-ca`"):
        renew_server(files.folder, now_ms=NOW_MS + 3500 * DAY_MS)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="pki init"):
        read_certificates(tmp_path)
    (tmp_path / "server.pem").write_text("nothing")
    with pytest.raises(PkiError, match=r"server\.pem holds no certificate"):
        read_certificates(tmp_path)
