"""The history of the outbox and the lead, recorded by triggers in a schema of the harness's own. Rows of
`dispatch_outbox` come and go between two samples, and what was never seen cannot be judged. So each insert and each
delete writes a line in the engine's own transaction, which a rollback removes too. The lines of one instance
are numbered in the order of its lock, since the engine holds it when it writes. The table of leaders is found by its
columns (holder, epoch); an engine without one is judged without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from seatrial.history import OBSERVER, Recorder

_BATCH_ROWS = 1000
#: the columns in which an engine says who it is
_NAMES = frozenset({"holder", "by_whom"})

_TABLES = """
CREATE SCHEMA seatrial;
CREATE TABLE seatrial.outbox_audit (
    seq bigserial PRIMARY KEY, what text NOT NULL, dedup_id text NOT NULL, job_id text NOT NULL,
    instance_id text NOT NULL, job_type text NOT NULL, job_status text, by_whom text NOT NULL,
    epoch bigint, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE seatrial.leader_audit (
    seq bigserial PRIMARY KEY, holder text NOT NULL, epoch bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
"""

_OUTBOX_FUNCTION = """
CREATE FUNCTION seatrial.note_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    row_ dispatch_outbox := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
    -- The settings are the caller's: an engine names its node there.
    whom text := current_setting('application_name');
    status_ text;
    epoch_ bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT status INTO status_ FROM job WHERE id = row_.job_id;
        {read_epoch}
    END IF;
    INSERT INTO seatrial.outbox_audit (what, dedup_id, job_id, instance_id, job_type, job_status, by_whom, epoch)
    VALUES (CASE TG_OP WHEN 'INSERT' THEN 'enqueued' ELSE 'removed' END,
            row_.id, row_.job_id, row_.instance_id, row_.job_type, status_, whom, epoch_);
    RETURN NULL;
END $body$;
CREATE TRIGGER seatrial_note AFTER INSERT OR DELETE ON dispatch_outbox
    FOR EACH ROW EXECUTE FUNCTION seatrial.note_outbox();
"""
_READ_EPOCH = "SELECT max(l.epoch) INTO epoch_ FROM {leaders} AS l;"

_LEADER_FUNCTION = """
CREATE FUNCTION seatrial.note_leader() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.epoch <> OLD.epoch OR NEW.holder <> OLD.holder THEN
        INSERT INTO seatrial.leader_audit (holder, epoch) VALUES (NEW.holder, NEW.epoch);
    END IF;
    RETURN NULL;
END $body$;
INSERT INTO seatrial.leader_audit (holder, epoch) SELECT holder, epoch FROM {leaders};
CREATE TRIGGER seatrial_note AFTER INSERT OR UPDATE ON {leaders}
    FOR EACH ROW EXECUTE FUNCTION seatrial.note_leader();
"""

_LEADER_TABLE = """
SELECT table_schema, table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name IN ('holder', 'epoch')
GROUP BY table_schema, table_name HAVING count(*) = 2
"""


async def install_outbox_audit(dsn: str) -> None:
    """Must be the superuser's DSN, on a database whose schema is there. Raises psycopg.Error."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        found = await (await connection.execute(_LEADER_TABLE)).fetchone()
        await connection.execute(_TABLES)
        if found is None:
            await connection.execute(sql.SQL(_OUTBOX_FUNCTION).format(read_epoch=sql.SQL("")))
            return
        leaders = sql.Identifier(*found)
        read_epoch = sql.SQL(_READ_EPOCH).format(leaders=leaders)
        await connection.execute(sql.SQL(_OUTBOX_FUNCTION).format(read_epoch=read_epoch))
        await connection.execute(sql.SQL(_LEADER_FUNCTION).format(leaders=leaders))


async def observe_outbox_audit(dsn: str, recorder: Recorder, aliases: Mapping[str, str]) -> None:
    """Every line, the rows that still wait, and the offset of the database's clock to ours, in one snapshot.
    `aliases` maps the engines' names to those of their replicas. Raises psycopg.Error.
    """
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        clock = await (await connection.execute("SELECT clock_timestamp() AS at")).fetchone()
        recorder.info(OBSERVER, "clock", {"at": _plain((clock or {})["at"])})
        for f, query in (
            (
                "outbox_line",
                """SELECT seq, what, dedup_id, job_id, instance_id, job_type, job_status, by_whom, epoch, at
                FROM seatrial.outbox_audit ORDER BY seq""",
            ),
            ("leader_line", "SELECT seq, holder, epoch, at FROM seatrial.leader_audit ORDER BY seq"),
            ("outbox_row", "SELECT id AS dedup_id, job_id, instance_id, job_type FROM dispatch_outbox"),
        ):
            async with connection.cursor(name=f"observe_{f}") as cursor:
                cursor.itersize = _BATCH_ROWS
                await cursor.execute(query)
                async for row in cursor:
                    told = {name: _plain(value) for name, value in row.items()}
                    named = {name: by_replica(told[name], aliases) for name in _NAMES & told.keys()}
                    recorder.info(OBSERVER, f, {**told, **named})


def by_replica(name: str, aliases: Mapping[str, str]) -> str:
    """An engine's name may be one of several parts between slashes."""
    return "/".join(aliases.get(part, part) for part in name.split("/"))


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if hasattr(value, "astimezone") else value
