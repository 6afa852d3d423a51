"""The settings of TLS at the doors, and what is refused of the files that they name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certificates import Authority, Issued, certificate_pem, key_pem
from windlass.__main__ import main
from windlass.config import ConfigError, Settings, settings_from_env
from windlass.errors import BootRefused
from windlass.telemetry.events import Event
from windlass.tls.files import read
from windlass.tls_settings import TlsSettings

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
CERT, KEY, CLIENT_CA = "WINDLASS_TLS_CERT_FILE", "WINDLASS_TLS_KEY_FILE", "WINDLASS_TLS_CLIENT_CA_FILE"


def settings(**env: str) -> Settings:
    return settings_from_env({"WE_POSTGRES_DSN": "postgresql:///x", **env}, Path("/nonexistent"))


@pytest.mark.parametrize(
    ("env", "problems"),
    [
        ({CERT: "/c"}, [f"{CERT} is set, but {KEY} is not; set both, or none for no TLS"]),
        ({KEY: "/k"}, [f"{KEY} is set, but {CERT} is not; set both, or none for no TLS"]),
        ({CLIENT_CA: "/ca"}, [f"{CLIENT_CA} is set, but {CERT} is not; set both, or none for no TLS"]),
        (
            {CERT: "/c", KEY: "-----BEGIN PRIVATE KEY-----"},
            [f"{KEY} must be the absolute path of a file; write for example /run/secrets/tls.crt"],
        ),
        ({"WINDLASS_TLS_METRICS": "perhaps"}, None),
    ],
)
def test_settings_that_do_not_fit_are_refused(env: dict[str, str], problems: list[str] | None) -> None:
    with pytest.raises(ConfigError) as error:
        settings(**env)
    assert "BEGIN" not in str(error.value)
    if problems is not None:
        assert error.value.problems == [f"config: {problem}" for problem in problems]


def test_plaintext_is_the_default() -> None:
    assert settings().tls == TlsSettings()
    assert not settings().tls.is_on
    found = settings(**{CERT: "/c", KEY: "/k", CLIENT_CA: "/a", "WINDLASS_TLS_METRICS": "false"}).tls
    assert (found.is_on, found.tls_metrics, found.tls_client_ca_file) == (True, False, "/a")


def on_disk(folder: Path, issued: Issued = GOOD, client_ca: str | None = None) -> TlsSettings:
    cert, key = issued.write(folder)
    authority = folder / "ca.crt"
    if client_ca is not None:
        authority.write_text(client_ca)
    return TlsSettings(
        tls_cert_file=str(cert),
        tls_key_file=str(key),
        tls_client_ca_file=str(authority) if client_ca is not None else None,
    )


def test_a_chain_and_keys_of_each_good_kind_are_taken(tmp_path: Path) -> None:
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ):
        issued = AUTHORITY.issue(key=key)
        found = on_disk(tmp_path, issued, client_ca=AUTHORITY.pem)
        (tmp_path / "tls.crt").write_text(issued.chain + AUTHORITY.pem)
        certificate = read(found)
        assert certificate.serial.upper() == issued.serial
        assert certificate.expires_at_s == issued.certificate.not_valid_after_utc.timestamp()
        assert issued.key_text not in repr(certificate)


def _other_order(folder: Path) -> None:
    (folder / "tls.crt").write_text(AUTHORITY.pem + GOOD.chain)


def _foreign_key(folder: Path) -> None:
    (folder / "tls.key").write_text(AUTHORITY.issue().key_text)


def _with_password(folder: Path) -> None:
    (folder / "tls.key").write_text(key_pem(GOOD.key, b"secret"))


def _certificate_as_key(folder: Path) -> None:
    (folder / "tls.key").write_text(GOOD.chain)


def _key_as_certificate(folder: Path) -> None:
    (folder / "tls.crt").write_text(GOOD.key_text)


def _damaged(folder: Path) -> None:
    (folder / "tls.crt").write_text(certificate_pem(GOOD.certificate)[:300] + "\n-----END CERTIFICATE-----\n")


def _short_key(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
    AUTHORITY.issue(key=key).write(folder)


def _new_key(folder: Path) -> None:
    AUTHORITY.issue(key=ed25519.Ed25519PrivateKey.generate()).write(folder)


def _no_key(folder: Path) -> None:
    (folder / "tls.key").unlink()


def _empty(folder: Path) -> None:
    (folder / "tls.crt").write_text("")


def _no_authority(folder: Path) -> None:
    (folder / "ca.crt").write_text("nothing")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (_other_order, f"{KEY} names '{{}}/tls.key', which is not the key of the first certificate"),
    (_foreign_key, f"{KEY} names '{{}}/tls.key', which is not the key of the first certificate"),
    (_with_password, f"{KEY} names '{{}}/tls.key', whose key has a password; write it without one"),
    (_certificate_as_key, f"{KEY} names '{{}}/tls.key', which has no readable PEM private key in it"),
    (_key_as_certificate, f"{CERT} names '{{}}/tls.crt', which has no PEM certificate in it"),
    (_damaged, f"{CERT} names '{{}}/tls.crt', which has no PEM certificate in it, or a damaged one"),
    (_short_key, f"{KEY} names '{{}}/tls.key', whose key does not serve here; use an RSA key of 2048 bits"),
    (_new_key, f"{KEY} names '{{}}/tls.key', whose key does not serve here"),
    (_no_key, f"{KEY} names '{{}}/tls.key', which cannot be read: No such file or directory; mount it"),
    (_empty, f"{CERT} names '{{}}/tls.crt', which is empty; write the value into it"),
    (_no_authority, f"{CLIENT_CA} names '{{}}/ca.crt', which has no PEM certificate in it"),
]


@pytest.mark.parametrize(("spoil", "expected"), FAULTS, ids=lambda it: getattr(it, "__name__", ""))
def test_files_that_cannot_serve_are_refused_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    expected: str,
) -> None:
    found = on_disk(tmp_path, client_ca=AUTHORITY.pem)
    spoil(tmp_path)
    with pytest.raises(BootRefused) as error:
        read(found)
    assert error.value.reason.startswith(expected.format(tmp_path))
    assert "secret" not in error.value.reason
    for name, path in ((CERT, "tls.crt"), (KEY, "tls.key"), (CLIENT_CA, "ca.crt")):
        monkeypatch.setenv(name, str(tmp_path / path))
    monkeypatch.setenv("WE_POSTGRES_DSN", "postgresql:///x")
    assert main(["check-config"]) == 1
    assert capsys.readouterr().err == f"config: {error.value.reason}\n"


def test_check_config_shows_what_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GOOD.write(tmp_path)
    monkeypatch.setenv("WE_POSTGRES_DSN", "postgresql:///x")
    monkeypatch.setenv(CERT, str(tmp_path / "tls.crt"))
    monkeypatch.setenv(KEY, str(tmp_path / "tls.key"))
    assert main(["check-config"]) == 0
    out = capsys.readouterr().out
    assert f"{CERT}={tmp_path / 'tls.crt'}\n" in out
    assert "PRIVATE" not in out


def test_what_reads_certificates_is_imported_only_with_tls() -> None:
    """It is large, and most engines are behind something that ends TLS."""
    script = "import sys, windlass.app; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_the_runbook_looks_for_the_line_that_the_engine_writes() -> None:
    page = Path(__file__).parents[3] / "docs" / "runbooks" / "WindlassCertificateUnusable.md"
    (wanted,) = re.findall(r'grep "(.*)"', page.read_text())
    assert Event.TLS_KEPT.startswith(wanted)
