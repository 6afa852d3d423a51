"""Values that hold a secret, or may hold one by mistake: what is wrong is told without showing them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from windlass.certificates import authorities_fault
from windlass.dsn import (
    WITHOUT_LINE_END,
    DatabaseUrl,
    MalformedDsn,
    database_url,
    encoding_fault,
    stray_fault,
)
from windlass.dsn_files import with_trust
from windlass.schema_name import leads_elsewhere, name_fault
from windlass.variable import Reader, Variable

#: A protocol in front, as Kafka's own tools write it, is left to the client.
_BROKER = re.compile(r"(?:[A-Za-z_]+://)?(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


def read_dsn(reader: Reader, env: Mapping[str, str], variable: str, dsn: str) -> DatabaseUrl:
    """The DSN as the driver reads it; what is wrong with it is recorded as a problem."""
    try:
        database = database_url(dsn)
        url = with_trust(database, env, _home())
    except MalformedDsn as error:
        reader.problems.append(f"config: {variable} {error.fault}; {error.remedy}")
        return DatabaseUrl(dsn)
    if database.ignored:
        reader.warnings.append(
            f"{variable}: ignored {', '.join(database.ignored)}, which other drivers read or which this engine "
            "sets itself; sizes and times of the pool are set with DB_MAX_CONNS, DB_MIN_CONNS and "
            "WINDLASS_DATABASE_TIMEOUT_SECONDS"
        )
    return dataclasses.replace(database, url=url)


def read_schema(reader: Reader, variable: Variable, name: str | None, database: DatabaseUrl) -> str | None:
    """The schema that the variable or the DSN names, None when neither does; a contradiction is a problem."""
    fault, remedy = name_fault(name or "")
    if fault:
        reader.problem(variable, fault, remedy)
        return None
    fault, remedy = name_fault(database.schema or "")
    if fault:
        reader.problems.append(f"config: WE_POSTGRES_DSN names a schema that {fault}; {remedy}")
        return None
    if name and database.schema and name != database.schema:
        reader.problem(variable, f"is {name!r} and WE_POSTGRES_DSN names another schema", "name it only once")
    schema = name or database.schema
    other = leads_elsewhere(database.parameters)
    if schema and other:
        source = variable.name if name else "its schema"
        reader.problems.append(
            f"config: WE_POSTGRES_DSN sets the search path with {other}, which {source} already decides; leave it out"
        )
    return schema


def _home() -> Path:
    """Where libpq looks for files when nothing else is said; a pod's user may have none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def judge_secret(reader: Reader, variable: Variable, text: str) -> None:
    if stray_fault(text):
        reader.problem(variable, stray_fault(text), WITHOUT_LINE_END)
    elif encoding_fault(text):
        reader.problem(variable, encoding_fault(text), "write it in UTF-8")


def judge_path(reader: Reader, variable: Variable, path: str, name: str) -> None:
    """`name`: what such a file may be called."""
    if not path.startswith("/"):
        # Not shown: some put the secret itself here.
        reader.problem(
            variable, "must be the absolute path of a file", f"write for example /run/secrets/{name}"
        )


def read_brokers(reader: Reader, variable: Variable, text: str) -> tuple[str, ...]:
    brokers = tuple(part.strip() for part in text.split(",") if part.strip())
    for number, broker in enumerate(brokers or (text,), 1):
        match = _BROKER.fullmatch(broker)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            # Not shown: some write user:password@ in front.
            reader.problem(
                variable,
                f"must be a comma list of host:port, and number {number} is not",
                "write for example kafka-0:9092,kafka-1:9092; user and password have variables of their own",
            )
    return brokers


def judge_authorities(reader: Reader, variable: Variable, path: str) -> None:
    fault = authorities_fault(path)
    if fault:
        reader.problem(variable, fault, "mount a PEM bundle or unset it")
