"""Contract 7: what is read from where, what is refused and in which words and order."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.cluster.certificate import new_authority
from windlass.config import ConfigError, Settings, resolved, settings_from_env, variables
from windlass.cpu import cpu_count

NO_FILE = Path("/nonexistent/engine.yaml")
DSN = {"WE_POSTGRES_DSN": "postgresql://u:s3cret@db:5432/windlass"}
KAFKA = DSN | {
    "WE_DISPATCH_MODE": "kafka_outbox",
    "WE_KAFKA_SEED_BROKERS": "k:9092",
    "WE_KAFKA_TRANSPORT": "plaintext",
}
SASL = KAFKA | {
    "WE_KAFKA_TRANSPORT": "sasl_scram_tls",
    "WE_KAFKA_SASL_USERNAME": "me",
    "WE_KAFKA_SASL_PASSWORD": "hunter2",
}


def settings(env: dict[str, str], yaml: Path = NO_FILE) -> Settings:
    return settings_from_env(env, yaml)


def problems(env: dict[str, str], yaml: Path = NO_FILE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from_env(env, yaml)
    assert all(problem.startswith("config: ") for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    return tmp_path / "engine.yaml"


def test_defaults() -> None:
    found = settings(DSN)
    expected: dict[str, Any] = {
        "rest_port": 8080,
        "grpc_port": 9090,
        "metrics_port": 9091,
        "log_level": "info",
        "audit_log_enabled": True,
        "db_max_conns": max(4, 4 * cpu_count()),
        "db_min_conns": 0,
        "dispatch_mode": "polling",
        "kafka": None,
        "lease_s": 30.0,
        "lease_sweep_interval_s": 15.0,
        "timer_sweep_interval_s": 5.0,
        "lease_expiries_max": 25,
        "shutdown_grace_s": 30.0,
        "lanes": 1,
        "lane_batch_max": 256,
        "body_bytes_max": 16 * 1024 * 1024,
        "long_poll_s_max": 25.0,
        "wake_mode": "hybrid",
        "wake_bus": "postgres",
        "redis": None,
        "fallback_poll_interval_s": 0.5,
        "empty_poll_memory_s": 0.25,
        "request_timeout_s": 30.0,
        "database_timeout_s": 10.0,
        "migrate_on_start": True,
        "node_heartbeat_interval_s": 5.0,
        "connections_max": 2000,
        "head_bytes_max": 32 * 1024,
        "grpc_streams_max": 1000,
        "read_timeout_s": 30.0,
        "write_timeout_s": 60.0,
        "idle_timeout_s": 120.0,
    }
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.node_name
    assert found == Settings(postgres_dsn=DSN["WE_POSTGRES_DSN"])
    assert found.warnings == ()


def test_every_variable_is_declared_once_and_described() -> None:
    names = [variable.name for variable in variables()]
    assert len(names) == len(set(names))
    keys = [variable.yaml_key for variable in variables() if variable.yaml_key]
    assert len(keys) == len(set(keys))
    assert all(variable.description for variable in variables())
    declared = {field.name for field in dataclasses.fields(Settings) if "variable" in field.metadata}
    assert declared == {field.name for field in dataclasses.fields(Settings)} - {
        "kafka",
        "redis",
        "access",
        "tls",
        "traces",
        "metrics_connections_max",
        "secret_files",
        "unknown_variables",
        "warnings",
    }
    for variable in variables():
        if not variable.name.startswith(("WE_", "DB_", "OTEL_")):
            assert variable.name.startswith("WINDLASS_")


def test_the_contract_s_variables_and_yaml_keys_are_all_here() -> None:
    assert {
        variable.name: variable.yaml_key for variable in variables() if variable.name[:3] in {"WE_", "DB_"}
    } == {
        "WE_POSTGRES_DSN": "postgresDSN",
        "WE_REST_PORT": "restPort",
        "WE_GRPC_PORT": "grpcPort",
        "WE_METRICS_PORT": "metricsPort",
        "WE_LOG_LEVEL": "logLevel",
        "WE_AUDIT_LOG_ENABLED": "auditLogEnabled",
        "DB_MAX_CONNS": "dbMaxConns",
        "DB_MIN_CONNS": "dbMinConns",
        "WE_DISPATCH_MODE": "dispatchMode",
        "WE_KAFKA_SEED_BROKERS": "kafka.seedBrokers",
        "WE_KAFKA_TRANSPORT": "kafka.transport",
        "WE_KAFKA_SASL_MECHANISM": "kafka.saslMechanism",
        "WE_KAFKA_SASL_USERNAME": None,
        "WE_KAFKA_SASL_PASSWORD": None,
        "WE_KAFKA_TLS_CA_PATH": "kafka.tlsCAPath",
        "WE_KAFKA_TLS_SERVER_NAME": "kafka.tlsServerName",
        "WE_OUTBOX_BATCH_SIZE": "kafka.outboxBatchSize",
    }


def test_environment_beats_yaml_beats_default_and_empty_is_unset(yaml_file: Path) -> None:
    yaml_file.write_text(
        "postgresDSN: postgresql://y@h/d\nrestPort: 1111\ngrpcPort: '2222'\nauditLogEnabled: false\nlogLevel: ''\n"
    )
    found = settings({"WE_REST_PORT": "3333", "WE_GRPC_PORT": "", "WE_POSTGRES_DSN": ""}, yaml_file)
    assert found.postgres_dsn == "postgresql://y@h/d"
    assert (found.rest_port, found.grpc_port, found.metrics_port) == (3333, 2222, 9091)
    assert (found.audit_log_enabled, found.log_level) == (False, "info")


@pytest.mark.parametrize(
    "text", ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
)
def test_booleans(text: str) -> None:
    assert settings(DSN | {"WE_AUDIT_LOG_ENABLED": text}).audit_log_enabled == (text[0] in "1tT")


@pytest.mark.parametrize(
    ("name", "value", "gist"),
    [
        ("WE_REST_PORT", "abc", "must be an integer, got 'abc'"),
        ("WE_REST_PORT", "80.5", "must be an integer, got '80.5'"),
        ("WE_REST_PORT", "8_080", "must be an integer, got '8_080'"),
        ("WE_REST_PORT", " 8080", "must be an integer, got ' 8080'"),
        ("WE_REST_PORT", "٣", "must be an integer, got '٣'"),
        ("WE_GRPC_PORT", "65536", "must be <= 65535, got '65536'"),
        ("WE_METRICS_PORT", "-1", "must be >= 0, got '-1'"),
        ("WE_METRICS_PORT", "9" * 5000, "must be an integer, got '99999"),
        ("WE_AUDIT_LOG_ENABLED", "yes", "must be true/false, got 'yes'"),
        ("DB_MAX_CONNS", "many", "must be an integer, got 'many'"),
        ("DB_MAX_CONNS", "0", "must be >= 1, got '0'"),
        ("DB_MIN_CONNS", "-1", "must be >= 0, got '-1'"),
        ("WE_DISPATCH_MODE", "carrier-pigeon", "unknown 'carrier-pigeon' (want polling|kafka_outbox)"),
        ("WINDLASS_LEASE_SECONDS", "soon", "must be a number of seconds, got 'soon'"),
        ("WINDLASS_LEASE_SECONDS", "nan", "must be a number of seconds, got 'nan'"),
        ("WINDLASS_LEASE_SECONDS", "inf", "must be a number of seconds, got 'inf'"),
        ("WINDLASS_LEASE_SECONDS", "0", "must be >= 0.1, got '0'"),
        ("WINDLASS_LONG_POLL_SECONDS_MAX", "29.5", "must be <= 29, got '29.5'"),
        ("WINDLASS_WAKE_MODE", "psychic", "unknown 'psychic' (want hybrid|event_driven|polling)"),
        ("WINDLASS_WAKE_BUS", "pigeon", "unknown 'pigeon' (want postgres|redis|none)"),
        ("WINDLASS_LANES", "0", "must be >= 1, got '0'"),
        ("WINDLASS_RETENTION_DAYS", "30d", "must be a number of days, got '30d'"),
        ("WINDLASS_RETENTION_DAYS", "-1", "must be >= 0, got '-1'"),
    ],
)
def test_one_bad_value_is_one_line_with_variable_value_and_remedy(name: str, value: str, gist: str) -> None:
    (problem,) = problems(DSN | {name: value})
    assert problem.startswith(f"config: {name} {gist}")
    assert "; " in problem
    assert len(problem) < 300


def test_every_number_s_limits_hold() -> None:
    for variable in variables():
        if variable.kind not in {"integer", "seconds", "days", "ratio"}:
            continue
        env = SASL if "KAFKA" in variable.name or "OUTBOX" in variable.name else DSN
        for limit, sign in ((variable.minimum, -1), (variable.maximum, 1)):
            assert limit is not None, variable.name
            beyond = str(
                int(limit) + sign if variable.kind == "integer" else math.nextafter(limit, sign * math.inf)
            )
            assert any(
                problem.startswith(f"config: {variable.name} ")
                for problem in problems(env | {variable.name: beyond})
            )


def test_all_problems_come_at_once_in_the_contract_s_order() -> None:
    found = problems(
        {
            "WE_KAFKA_SASL_MECHANISM": "PLAIN",
            "WE_KAFKA_TRANSPORT": "sasl_scram_tls",
            "WE_DISPATCH_MODE": "kafka_outbox",
            "DB_MIN_CONNS": "9",
            "DB_MAX_CONNS": "4",
            "WE_KAFKA_TLS_CA_PATH": "/nonexistent/ca.pem",
            "WE_OUTBOX_BATCH_SIZE": "0",
            "WINDLASS_LANES": "x",
        }
    )
    assert [problem.split()[1] for problem in found] == [
        "WE_POSTGRES_DSN",
        "DB_MIN_CONNS",
        "WE_KAFKA_SEED_BROKERS",
        "WE_KAFKA_SASL_USERNAME",
        "WE_KAFKA_SASL_PASSWORD",
        "WE_KAFKA_SASL_MECHANISM",
        "WE_KAFKA_TLS_CA_PATH",
        "WE_OUTBOX_BATCH_SIZE",
        "WINDLASS_LANES",
    ]
    assert "is required (not set and not in yaml)" in found[0]
    assert "must be <= DB_MAX_CONNS (4), got 9" in found[1]
    assert "is required when WE_DISPATCH_MODE=kafka_outbox" in found[2]
    assert "is required when WE_KAFKA_TRANSPORT=sasl_scram_tls" in found[3]
    assert "must be SCRAM-SHA-256 or SCRAM-SHA-512, got 'PLAIN'" in found[5]
    assert "cannot read '/nonexistent/ca.pem': No such file or directory" in found[6]


def test_broker_settings() -> None:
    plain = settings(KAFKA | {"WE_KAFKA_SEED_BROKERS": " a:9092 , b:9093,"}).kafka
    assert plain is not None
    assert (plain.seed_brokers, plain.transport, plain.outbox_batch_size) == (
        ("a:9092", "b:9093"),
        "plaintext",
        200,
    )
    secured = settings(SASL).kafka
    assert secured is not None
    assert (secured.sasl_username, secured.sasl_password, secured.sasl_mechanism) == (
        "me",
        "hunter2",
        "SCRAM-SHA-512",
    )
    (missing,) = problems({key: value for key, value in KAFKA.items() if key != "WE_KAFKA_TRANSPORT"})
    assert missing.startswith("config: WE_KAFKA_TRANSPORT is required when WE_DISPATCH_MODE=kafka_outbox")
    (unknown,) = problems(KAFKA | {"WE_KAFKA_TRANSPORT": "tls"})
    assert "unknown 'tls' (want plaintext|sasl_scram_tls)" in unknown
    for bad in ("broker", "broker:", ":9092", "a:9092,b:99999", ",", "a:x", "a b:1", "::1:9092"):
        assert "host:port" in problems(KAFKA | {"WE_KAFKA_SEED_BROKERS": bad})[0]
    for good in ("[::1]:9092", "PLAINTEXT://a_b.c-d:1", "k:1, k2:2,"):
        assert settings(KAFKA | {"WE_KAFKA_SEED_BROKERS": good}).kafka


@pytest.mark.parametrize(
    "broker", ["u:S3cretXQZ@k:9092", "u:S3cretXQZ", "S3cretXQZ\n:1", "kafka://S3cretXQZ"]
)
def test_a_broker_that_is_none_is_named_by_its_place(broker: str) -> None:
    """got 'u:S3cretXQZ', or it was taken for a host and shown in the log."""
    (problem,) = problems(KAFKA | {"WE_KAFKA_SEED_BROKERS": f"k:9092,{broker}"})
    assert "must be a comma list of host:port, and number 2 is not" in problem
    assert "S3cretXQZ" not in problem


def test_a_ca_file_must_hold_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    (problem,) = problems(SASL | {"WE_KAFKA_TLS_CA_PATH": str(path)})
    assert f"no PEM certs found in {str(path)!r}" in problem
    path.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (problem,) = problems(SASL | {"WE_KAFKA_TLS_CA_PATH": str(path)})
    assert f"a certificate in {str(path)!r} is damaged" in problem
    new_authority("test").write(path)
    kafka = settings(SASL | {"WE_KAFKA_TLS_CA_PATH": str(path)}).kafka
    assert kafka is not None
    assert kafka.tls_ca_path == str(path)


def test_in_polling_mode_broker_settings_are_neither_judged_nor_named(yaml_file: Path) -> None:
    yaml_file.write_text("kafka:\n  transprot: x\n  seedBrokers: 7\n")
    env = DSN | {
        "WE_KAFKA_TRANSPORT": "nonsense",
        "WE_OUTBOX_BATCH_SIZE": "x",
        "WE_KAFKA_TYPO": "1",
        "WE_KAFK_TRANSPORT": "1",
    }
    found = settings(env, yaml_file)
    assert found.kafka is None
    assert found.unknown_variables == ("WE_KAFK_TRANSPORT",)
    assert not any("kafka" in warning.lower() for warning in found.warnings)


def test_user_and_password_are_not_read_from_the_file(yaml_file: Path) -> None:
    yaml_file.write_text("kafka:\n  saslUsername: me\n  saslPassword: hunter2\n")
    env = {key: value for key, value in SASL.items() if "SASL" not in key}
    found = problems(env, yaml_file)
    assert [problem.split()[1] for problem in found] == ["WE_KAFKA_SASL_USERNAME", "WE_KAFKA_SASL_PASSWORD"]
    warnings = settings(SASL, yaml_file).warnings
    assert [warning.split()[1] for warning in warnings] == ["kafka.saslUsername", "kafka.saslPassword"]


def test_secrets_are_in_no_repr_and_no_printout() -> None:
    found = settings(SASL)
    shown = repr(found) + "".join(text for _, text in resolved(found))
    assert "s3cret" not in shown
    assert "hunter2" not in shown
    printed = {variable.name: text for variable, text in resolved(found)}
    assert printed["WE_POSTGRES_DSN"] == "postgresql://u:***@db:5432/windlass"
    assert printed["WE_KAFKA_SASL_PASSWORD"] == "***"
    assert printed["WE_KAFKA_SEED_BROKERS"] == "k:9092"
    assert "WE_KAFKA_SASL_PASSWORD" not in {variable.name for variable, _ in resolved(settings(DSN))}


def test_what_is_printed_reads_back_the_same() -> None:
    found = settings(SASL | {"WINDLASS_LEASE_SECONDS": "1.5", "WINDLASS_MIGRATE_ON_START": "f"})
    again = {variable.name: text for variable, text in resolved(found) if not variable.secret}
    assert settings(SASL | again) == found


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        ("a: [1", "is not readable YAML"),
        ("- 1", "must hold a mapping, not a list"),
        ("postgresDSN: 5", "WE_POSTGRES_DSN must be text, got int"),
        ("restPort: true", "WE_REST_PORT must be an integer, got True"),
        ("restPort: [1]", "WE_REST_PORT must be an integer"),
    ],
)
def test_a_bad_file_is_fatal(yaml_file: Path, text: str, gist: str) -> None:
    yaml_file.write_text(text)
    assert any(gist in problem for problem in problems({}, yaml_file))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\npostgresDSN: postgres://u:S3cretXQZ: x\n", ": line 2, column 36;"),
        ("postgresDSN: 'S3cretXQZ\x01'\n", ";"),
        ("postgresDSN: !!int S3cretXQZ\n", ";"),
        ("postgresDSN: !S3cretXQZ x\n", ": line 1, column 14;"),
        ("postgresDSN: 2026-13-77\n", ";"),
        ("[" * 5000, ";"),
    ],
)
def test_of_a_file_that_is_no_yaml_only_the_place_is_told(yaml_file: Path, text: str, place: str) -> None:
    """PyYAML's message quoted the line with the password, and a date such as 2026-13-77 was a traceback."""
    yaml_file.write_text(text)
    problem = problems(DSN, yaml_file)[0]
    assert problem.startswith(f"config: {yaml_file} is not readable YAML{place} fix or remove")
    assert "S3cretXQZ" not in problem


def test_a_file_that_cannot_be_read_is_fatal(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path}" in problems(DSN, tmp_path)[0]
    binary = tmp_path / "engine.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert f"cannot read {binary}" in problems(DSN, binary)[0]


def test_unknown_names_are_told_once_and_do_not_hurt(yaml_file: Path) -> None:
    yaml_file.write_text("restport: 1\n")
    env = DSN | {
        "WINDLASS_LANE": "3",
        "WINDLASS_SERVICE_HOST": "10.0.0.1",
        "WE_X": "",
        "OTHER": "1",
        "WE_LOG_LEVEL": "loud",
    }
    found = settings(env, yaml_file)
    assert found.unknown_variables == ("WE_X", "WINDLASS_LANE", "WINDLASS_SERVICE_HOST")
    assert found.log_level == "info"
    assert found.warnings == (
        "WE_LOG_LEVEL 'loud' is unknown and counts as info (debug, info, warn, error)",
        "WE_X is not a variable of this engine and is ignored",
        "WINDLASS_LANE is not a variable of this engine and is ignored; did you mean WINDLASS_LANES?",
        "WINDLASS_SERVICE_HOST is not a variable of this engine and is ignored",
        f"{yaml_file}: restport is not a setting of this engine and is ignored",
    )
    assert settings(DSN | {"WE_LOG_LEVEL": "DEBUG"}).log_level == "debug"


STRICT = DSN | {"WINDLASS_STRICT_SETTINGS": "true"}


def test_strict_settings_refuse_each_unknown_name() -> None:
    assert problems(STRICT | {"WINDLASS_LANE": "3", "WE_X": "", "OTHER": "1"}) == [
        "config: WE_X is not a variable of this engine; correct or unset it, or unset WINDLASS_STRICT_SETTINGS",
        (
            "config: WINDLASS_LANE is not a variable of this engine; did you mean WINDLASS_LANES?; "
            "correct or unset it, or unset WINDLASS_STRICT_SETTINGS"
        ),
    ]
    assert settings(STRICT).strict_settings
    assert "WINDLASS_LANE" in problems(STRICT | {"WINDLASS_LANE": "3", "WE_REST_PORT": "x"})[-1]


def test_strict_settings_name_no_broker_in_polling_mode() -> None:
    assert settings(STRICT | {"WE_KAFKA_TYPO": "1", "WE_KAFKA_SASL_PASSWORD_FILE": "/nowhere"}).warnings == ()
    (problem,) = problems(KAFKA | STRICT | {"WE_KAFKA_TRANSPROT": "1"})
    assert "did you mean WE_KAFKA_TRANSPORT?" in problem


def test_strict_settings_leave_to_kubernetes_what_it_makes_of_services() -> None:
    links = {
        "WINDLASS_SERVICE_HOST": "10.0.0.1",
        "WINDLASS_SERVICE_PORT": "8080",
        "WINDLASS_METRICS_SERVICE_PORT_HTTP": "9091",
        "WINDLASS_PORT": "tcp://10.0.0.1:8080",
        "WINDLASS_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "WINDLASS_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert settings(STRICT | links).unknown_variables == tuple(sorted(links))
    (problem,) = problems(STRICT | {"WINDLASS_PORT": "8080"})
    assert "WINDLASS_PORT is not a variable" in problem


def test_a_node_has_one_name_by_whichever_variable() -> None:
    assert settings(DSN).server_id is None
    for env in (
        {"WINDLASS_SERVER_ID": "server-a"},
        {"WINDLASS_NODE_NAME": "server-a"},
        {"WINDLASS_SERVER_ID": "server-a", "WINDLASS_NODE_NAME": "server-a"},
    ):
        found = settings(DSN | env)
        assert (found.node_name, found.server_id) == ("server-a", "server-a")
    assert problems(DSN | {"WINDLASS_SERVER_ID": "server-a", "WINDLASS_NODE_NAME": "pod-7"}) == [
        (
            "config: WINDLASS_SERVER_ID is 'server-a' and WINDLASS_NODE_NAME 'pod-7', two names of one thing; "
            "unset one of the two"
        )
    ]


def test_ports_and_waits_must_agree() -> None:
    (problem,) = problems(DSN | {"WE_METRICS_PORT": "8080"})
    assert problem.startswith("config: WE_METRICS_PORT is 8080, which WE_REST_PORT already uses")
    assert settings(DSN | {"WE_METRICS_PORT": "0", "WE_REST_PORT": "0"}).rest_port == 0
    (problem,) = problems(DSN | {"WINDLASS_REQUEST_TIMEOUT_SECONDS": "20"})
    assert (
        "WINDLASS_LONG_POLL_SECONDS_MAX must be below WINDLASS_REQUEST_TIMEOUT_SECONDS (20), got 25"
        in problem
    )


@given(
    st.dictionaries(
        st.sampled_from([variable.name for variable in variables()]),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12),
        max_size=6,
    )
)
def test_any_environment_gives_settings_or_named_problems(env: dict[str, str]) -> None:
    names = {variable.name for variable in variables()}
    problems_found = []
    try:
        settings_from_env(env, NO_FILE)
    except ConfigError as error:
        problems_found = error.problems
    assert bool(problems_found) or "WE_POSTGRES_DSN" in env
    for problem in problems_found:
        assert problem.split()[1] in names
