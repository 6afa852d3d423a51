"""Contract 7: the command under test, started with good and bad variables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from workflow import END, service

from suite.boot import NOWHERE, Booted
from suite.case import REST, Need, add, holds, same, shows
from suite.context import CaseContext

BOOT = [Need.BOOT]
USED = "is required when WE_DISPATCH_MODE=kafka_outbox"
SECRET = "is required when WE_KAFKA_TRANSPORT=sasl_scram_tls"
BAD: Mapping[str, str] = {
    "WE_REST_PORT": "eighty",
    "WE_GRPC_PORT": "ninety",
    "WE_METRICS_PORT": "9o91",
    "WE_AUDIT_LOG_ENABLED": "ja",
    "DB_MAX_CONNS": "0",
    "DB_MIN_CONNS": "-1",
    "WE_DISPATCH_MODE": "rabbit",
}
"""All at once, and no WE_POSTGRES_DSN."""
KAFKA: Mapping[str, str] = {"WE_POSTGRES_DSN": NOWHERE, "WE_DISPATCH_MODE": "kafka_outbox"}
SECURED: Mapping[str, str] = {
    **KAFKA,
    "WE_KAFKA_TRANSPORT": "sasl_scram_tls",
    "WE_KAFKA_SASL_MECHANISM": "PLAIN",
    "WE_KAFKA_TLS_CA_PATH": "/no/such/ca.pem",
    "WE_OUTBOX_BATCH_SIZE": "0",
}
ODD: Mapping[str, str] = {
    "WE_DISPATCH_MODE": "",
    "WE_AUDIT_LOG_ENABLED": "F",
    "DB_MIN_CONNS": "",
    "WE_LOG_LEVEL": "chatty",
    "WE_KAFKA_TRANSPORT": "carrier pigeon",
    "WE_OUTBOX_BATCH_SIZE": "many",
}
"""Harmless, every one."""


def told_of(text: str, variable: str) -> str:
    """What is said about it; lines of JSON say the same in their own way."""
    lines = [
        line for line in text.splitlines() if f"config: {variable} " in line and not line.startswith("{")
    ]
    holds(f"a line begins with config: {variable}", lines, text)
    return lines[0]


def _refused(key: str, variable: str, gist: str, variables: Mapping[str, str]) -> None:
    async def run(context: CaseContext) -> None:
        line = told_of(await context.boots.refusal(**variables), variable)
        holds(f"it says {gist!r}", gist in line, line)

    add(key, run=run, over=REST, needs=BOOT, shown_by="REFUSED")


REFUSED = (
    ("7 fatal", "WE_REST_PORT", "must be an integer, got", BAD),
    ("7.1 WE_POSTGRES_DSN", "WE_POSTGRES_DSN", "is required (not set and not in yaml)", BAD),
    ("7.1 WE_REST_PORT", "WE_REST_PORT", "must be an integer, got", BAD),
    ("7.1 WE_GRPC_PORT", "WE_GRPC_PORT", "must be an integer, got", BAD),
    ("7.1 WE_METRICS_PORT", "WE_METRICS_PORT", "must be an integer, got", BAD),
    ("7.1 WE_AUDIT_LOG_ENABLED", "WE_AUDIT_LOG_ENABLED", "must be true/false, got", BAD),
    ("7.1 DB_MAX_CONNS", "DB_MAX_CONNS", "must be >= 1", BAD),
    ("7.1 DB_MAX_CONNS", "DB_MAX_CONNS", "must be an integer",
     {"WE_POSTGRES_DSN": NOWHERE, "DB_MAX_CONNS": "four", "DB_MIN_CONNS": "some"}),
    ("7.1 DB_MIN_CONNS", "DB_MIN_CONNS", "must be >= 0", BAD),
    ("7.1 DB_MIN_CONNS", "DB_MIN_CONNS", "must be <= DB_MAX_CONNS",
     {"WE_POSTGRES_DSN": NOWHERE, "DB_MAX_CONNS": "2", "DB_MIN_CONNS": "3"}),
    ("7.1 WE_DISPATCH_MODE", "WE_DISPATCH_MODE", "(want polling|kafka_outbox)", BAD),
    ("7.1 WE_KAFKA_SEED_BROKERS", "WE_KAFKA_SEED_BROKERS", USED, KAFKA),
    ("7.1 WE_KAFKA_TRANSPORT", "WE_KAFKA_TRANSPORT", "is required", KAFKA),
    ("7.1 WE_KAFKA_TRANSPORT", "WE_KAFKA_TRANSPORT", "(want plaintext|sasl_scram_tls)",
     {**KAFKA, "WE_KAFKA_TRANSPORT": "carrier pigeon"}),
    ("7.1 WE_KAFKA_SASL_MECHANISM", "WE_KAFKA_SASL_MECHANISM", "must be SCRAM-SHA-256 or SCRAM-SHA-512, got", SECURED),
    ("7.1 WE_KAFKA_TLS_CA_PATH", "WE_KAFKA_TLS_CA_PATH", "cannot read", SECURED),
    ("7.1 WE_KAFKA_SASL_USERNAME", "WE_KAFKA_SASL_USERNAME", SECRET, SECURED),
    ("7.1 WE_KAFKA_SASL_PASSWORD", "WE_KAFKA_SASL_PASSWORD", SECRET, SECURED),
    ("7.1 WE_OUTBOX_BATCH_SIZE", "WE_OUTBOX_BATCH_SIZE", "must be >= 1", SECURED),
)  # fmt: skip
"""Row, variable, what is said of it, and the variables of the boot."""

for key, variable, gist, variables in REFUSED:
    _refused(key, variable, gist, variables)


@shows("7.2 order", over=REST, needs=BOOT)
async def order_of_problems(context: CaseContext) -> None:
    for variables, order in (
        (BAD, ("WE_POSTGRES_DSN", "DB_MAX_CONNS", "WE_DISPATCH_MODE")),
        (SECURED, ("WE_KAFKA_SEED_BROKERS", "WE_KAFKA_SASL_USERNAME", "WE_KAFKA_SASL_PASSWORD",
                   "WE_KAFKA_SASL_MECHANISM")),
    ):  # fmt: skip
        text = await context.boots.refusal(**variables)
        lines = text.splitlines()
        got = [lines.index(told_of(text, name)) for name in order]
        holds(f"told in the order {', '.join(order)}", got == sorted(got), text)


@shows("8.4 configuration-error", "8.4 fatal", over=REST, needs=BOOT)
async def a_refused_boot_s_lines(context: CaseContext) -> None:
    process = await context.boots.start(WE_POSTGRES_DSN=NOWHERE, DB_MAX_CONNS="0")
    same("exit code", await process.ended(), 1)
    (line,) = process.log(msg="engine: fatal")
    same("level", line["level"], "ERROR")
    holds("the variable is in err", "DB_MAX_CONNS" in line["err"], line)
    holds("the same text on stderr", line["err"] in process.stderr, process.stderr)


# -- what is odd and harmless: one process, many looks at it


async def _odd(context: CaseContext) -> Booted:
    return await context.boots.shared(ODD)


@shows("7 empty", "7.1 kafka-ignored", "7.3 serve", over=REST, needs=BOOT)
async def it_serves_all_the_same(context: CaseContext) -> None:
    booted = await _odd(context)
    instance = await booted.rest.run(service("a"), END)
    await booted.rest.work_off(instance, "a")
    await booted.rest.status_is(instance, "COMPLETED")


@shows("7.1 WE_LOG_LEVEL", over=REST, needs=BOOT)
async def unknown_log_level(context: CaseContext) -> None:
    booted = await _odd(context)
    await booted.rest.raw("GET", "/v1/definitions")
    holds("INFO is written", booted.process.log(level="INFO"), booted.process.stdout[-500:])
    warned = [line for line in booted.process.log(level="WARN") if "chatty" in str(line)]
    same("warnings about the level", len(warned), 1)


@shows("8.3 switch", over=REST, needs=BOOT)
async def audit_switched_off(context: CaseContext) -> None:
    booted = await _odd(context)
    instance = await booted.rest.run(service("a"), END)
    await booted.rest.work_off(instance, "a")
    same("rows of audit_log", await context.rows_of(booted, "SELECT kind FROM audit_log"), [])


@shows("7.1 WE_POSTGRES_DSN-keywords", over=REST, needs=BOOT)
async def keyword_string(context: CaseContext) -> None:
    booted = await context.boots.serving(await context.boots.database(keywords=True))
    same("status", (await booted.rest.raw("GET", "/readyz")).status, 200)


@shows("7.3 shutdown", "8.4 shutdown", over=REST, needs=BOOT)
async def a_stop(context: CaseContext) -> None:
    booted = await context.boots.serving()
    began_s = time.monotonic()
    same("exit code", await booted.stop(), 0)
    holds("well within 30 s", time.monotonic() - began_s < 30, time.monotonic() - began_s)
    said = [line["msg"] for line in booted.process.log() if line["msg"].startswith("engine: s")]
    same("the last two", said[-2:], ["engine: shutdown signal received", "engine: stopped"])
    ports = [line["addr"].rpartition(":")[2] for line in booted.process.log() if "addr" in line]
    for port in ports:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            continue
        writer.close()
        holds(f"port {port} is closed", False, "it accepts")
