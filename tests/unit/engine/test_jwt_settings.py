"""The variables of JWTs: what is taken, and what is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from issuer import Signer, key_set
from seatrial.cluster.certificate import new_authority
from windlass.__main__ import main
from windlass.auth.principal import Role
from windlass.config import ConfigError, Settings, resolved, settings_from_env

NO_FILE = Path("/nonexistent/engine.yaml")
DSN = {"WE_POSTGRES_DSN": "postgresql:///none"}
JWT = {
    "WINDLASS_JWT_ISSUER": "https://login.example.com",
    "WINDLASS_JWT_AUDIENCE": "windlass",
    "WINDLASS_JWT_JWKS_URL": "https://login.example.com/keys",
    "WINDLASS_JWT_ROLES": "ops=operator",
}


def settings(**changed: str | None) -> Settings:
    env = {name: value for name, value in {**DSN, **JWT, **changed}.items() if value is not None}
    return settings_from_env(env, NO_FILE)


def problems(**changed: str | None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(**changed)
    return refused.value.problems


def test_one_of_them_turns_authentication_on_and_none_leaves_it_off() -> None:
    found = settings()
    assert found.access.is_on
    assert found.access.jwt is not None
    assert (found.access.jwt.jwt_roles_claim, found.access.jwt.jwt_name_claim) == ("roles", "sub")
    assert (found.access.jwt.jwt_leeway_s, found.access.jwt.jwt_refresh_s) == (30.0, 300.0)
    off = settings_from_env(DSN, NO_FILE)
    assert (off.access.is_on, off.access.jwt) == (False, None)
    shown = {variable.name: text for variable, text in resolved(found)}
    assert shown["WINDLASS_JWT_ROLES"] == "ops=operator"
    assert not any(variable.name.startswith("WINDLASS_JWT_") for variable, _ in resolved(off))


def test_what_is_missing_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from_env({**DSN, "WINDLASS_JWT_LEEWAY_SECONDS": "5"}, NO_FILE)
    assert refused.value.problems == [
        *(
            f"config: WINDLASS_JWT_{name} is required when another WINDLASS_JWT_* is set; set it"
            for name in ("ISSUER", "AUDIENCE", "ROLES")
        ),
        (
            "config: WINDLASS_JWT_JWKS_URL and WINDLASS_JWT_JWKS_FILE are both unset, so that no signature could be "
            "checked; set one of the two"
        ),
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"WINDLASS_JWT_JWKS_FILE": "/keys"}, "are both set; set one of the two"),
        ({"WINDLASS_JWT_JWKS_URL": None, "WINDLASS_JWT_JWKS_FILE": "keys"}, "must be the absolute path"),
        ({"WINDLASS_JWT_JWKS_URL": "http://login.example.com/keys"}, "is http to 'login.example.com'"),
        ({"WINDLASS_JWT_JWKS_URL": "http://127.0.0.1.example.com/"}, "is http to"),
        ({"WINDLASS_JWT_JWKS_URL": "ftp://x/keys"}, "is not an https URL"),
        ({"WINDLASS_JWT_JWKS_URL": "https://"}, "is not an https URL"),
        ({"WINDLASS_JWT_JWKS_URL": "https://x:y/"}, "is not a URL"),
        ({"WINDLASS_JWT_JWKS_URL": "https://x/#keys"}, "is not an https URL"),
        ({"WINDLASS_JWT_JWKS_URL": "https://me:hunter2@x/keys"}, "has a user in it"),
        ({"WINDLASS_JWT_CA_PATH": "/nowhere"}, "WINDLASS_JWT_CA_PATH"),
        ({"WINDLASS_JWT_ROLES": "ops"}, "has 'ops', which gives no role"),
        ({"WINDLASS_JWT_ROLES": "ops=root"}, "has 'ops=root', which gives no role"),
        ({"WINDLASS_JWT_ROLES": "=admin"}, "has 'admin', which gives no role"),
        ({"WINDLASS_JWT_ROLES": "a=admin,"}, "which gives no role"),
        ({"WINDLASS_JWT_ROLES_CLAIM": "a..b"}, "is no path of claims"),
        ({"WINDLASS_JWT_NAME_CLAIM": ".sub"}, "is no path of claims"),
        ({"WINDLASS_JWT_ISSUER": " x"}, "printable characters"),
        ({"WINDLASS_JWT_AUDIENCE": "x" * 1025}, "printable characters"),
        ({"WINDLASS_JWT_LEEWAY_SECONDS": "301"}, "must be <= 300"),
        ({"WINDLASS_JWT_LEEWAY_SECONDS": "-1"}, "must be >= 0"),
        ({"WINDLASS_JWT_REFRESH_SECONDS": "1"}, "must be >= 10"),
        ({"WINDLASS_CORS_ORIGINS": "*"}, "any web page could read what WINDLASS_JWT_* guards"),
    ],
)
def test_what_is_refused(changed: dict[str, str | None], problem: str) -> None:
    (found,) = problems(**changed)
    assert problem in found
    assert "hunter2" not in found


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]", "localhost"])
def test_http_is_taken_on_this_machine(host: str) -> None:
    assert settings(WINDLASS_JWT_JWKS_URL=f"http://{host}/keys").access.is_on


def test_a_ca_is_for_https_alone(tmp_path: Path) -> None:
    ca = str(new_authority("ca").write(tmp_path / "ca.pem"))
    assert settings(WINDLASS_JWT_CA_PATH=ca).access.is_on
    (found,) = problems(WINDLASS_JWT_CA_PATH=ca, WINDLASS_JWT_JWKS_URL="http://localhost/")
    assert "no https URL is fetched" in found


def test_a_value_may_hold_equals_signs_and_give_two_roles() -> None:
    found = settings(WINDLASS_JWT_ROLES="cn=ops=operator, cn=ops = client").access.jwt
    assert found is not None
    assert found.roles == {"cn=ops": frozenset({Role.OPERATOR, Role.CLIENT})}


def test_metrics_may_ask_for_jwts_alone() -> None:
    assert settings(WINDLASS_METRICS_TOKENS="true").access.metrics_tokens
    with pytest.raises(ConfigError, match=r"neither WINDLASS_TOKENS_FILE nor WINDLASS_JWT_\* is set"):
        settings_from_env({**DSN, "WINDLASS_METRICS_TOKENS": "true"}, NO_FILE)


def test_check_config_reads_the_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jwks.json"
    env = {**DSN, **JWT, "WINDLASS_JWT_JWKS_FILE": str(path)}
    del env["WINDLASS_JWT_JWKS_URL"]
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    path.write_text("{}")
    assert main(["check-config"]) == 1
    assert "cannot be used: it is no JWK Set" in capsys.readouterr().err
    path.write_bytes(key_set(Signer()))
    assert main(["check-config"]) == 0


def test_without_jwts_no_library_of_theirs_is_in_the_process() -> None:
    code = (
        "import sys, windlass.app\n"
        "from windlass.access_settings import AccessSettings\n"
        "from windlass.auth.access import Access\n"
        "access = Access(AccessSettings(tokens_file='/t'), type('R', (), {'call_refused': print})())\n"
        "assert access.gate is not None\n"
        "print(sorted({'jwt', 'cryptography', 'aiohttp'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
