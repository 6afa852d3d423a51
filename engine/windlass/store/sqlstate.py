"""What an error of PostgreSQL means for the engine, by its SQLSTATE: the one place that decides what is tried again.

The classes and codes are those of
https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Failure(Enum):
    """What is left of a statement that failed, and what may be done about it."""

    CONNECTION_LOST = auto()
    """The session has ended. Whether a commit that was under way happened is unknown."""
    WRONG_SESSION = auto()
    """Nothing was done, and this session will not do it: it leads to a standby, or its statements are not ours. Drop
    it; another session may do it."""
    TRANSIENT = auto()
    """Nothing was done; the same statement may succeed in the same session."""
    CALLERS_DATA = auto()
    """The database cannot take a value that the caller has sent."""
    MISSING_RIGHT = auto()
    """The role may not do this."""
    DEFECT = auto()
    """The engine's bug, or a database that is not as the engine made it."""


RETRIED = frozenset({Failure.CONNECTION_LOST, Failure.WRONG_SESSION, Failure.TRANSIENT})
"""Tried again where that is safe, and answered 503 where it is not."""

READ_ONLY = "25006"
"""read_only_sql_transaction: a standby, or default_transaction_read_only."""

LOCK_NOT_AVAILABLE = "55P03"
"""lock_not_available: lock_timeout, NOWAIT."""

#: By the first two characters. Every class of the manual is here; an unknown one is a defect.
CLASSES: Mapping[str, Failure] = {
    "00": Failure.DEFECT,  # successful completion: never raised
    "01": Failure.DEFECT,  # warning: never raised
    "02": Failure.DEFECT,  # no data
    "03": Failure.DEFECT,  # SQL statement not yet complete
    "08": Failure.CONNECTION_LOST,  # connection exception; poolers use 08P01 for all their refusals
    "09": Failure.DEFECT,  # triggered action exception
    "0A": Failure.DEFECT,  # feature not supported
    "0B": Failure.DEFECT,  # invalid transaction initiation
    "0F": Failure.DEFECT,  # locator exception
    "0L": Failure.DEFECT,  # invalid grantor
    "0P": Failure.DEFECT,  # invalid role specification
    "0Z": Failure.DEFECT,  # diagnostics exception
    "10": Failure.DEFECT,  # XQuery error
    "20": Failure.DEFECT,  # case not found
    "21": Failure.DEFECT,  # cardinality violation
    "22": Failure.CALLERS_DATA,  # data exception
    "23": Failure.DEFECT,  # integrity constraint violation
    "24": Failure.DEFECT,  # invalid cursor state
    "25": Failure.DEFECT,  # invalid transaction state
    "26": Failure.WRONG_SESSION,  # invalid SQL statement name: a pooler gave us another server session
    "27": Failure.DEFECT,  # triggered data change violation
    "28": Failure.MISSING_RIGHT,  # invalid authorization specification
    "2B": Failure.DEFECT,  # dependent privilege descriptors still exist
    "2D": Failure.DEFECT,  # invalid transaction termination
    "2F": Failure.DEFECT,  # SQL routine exception
    "34": Failure.DEFECT,  # invalid cursor name
    "38": Failure.DEFECT,  # external routine exception
    "39": Failure.DEFECT,  # external routine invocation exception
    "3B": Failure.DEFECT,  # savepoint exception
    "3D": Failure.CONNECTION_LOST,  # invalid catalog name: the database is not there, or not yet
    "3F": Failure.DEFECT,  # invalid schema name
    "40": Failure.TRANSIENT,  # transaction rollback: serialisation failure, deadlock
    "42": Failure.DEFECT,  # syntax error or access rule violation
    "44": Failure.DEFECT,  # WITH CHECK OPTION violation
    "53": Failure.TRANSIENT,  # insufficient resources: disk, memory, connections
    "54": Failure.CALLERS_DATA,  # program limit exceeded: a value too long for its index, nested too deep
    "55": Failure.DEFECT,  # object not in prerequisite state
    "57": Failure.TRANSIENT,  # operator intervention: a statement cancelled, by whomever
    "58": Failure.TRANSIENT,  # system error: the server's disk, not the server
    "72": Failure.TRANSIENT,  # snapshot failure
    "F0": Failure.DEFECT,  # configuration file error
    "HV": Failure.DEFECT,  # foreign data wrapper error
    "P0": Failure.DEFECT,  # PL/pgSQL error: somebody's trigger
    "XX": Failure.DEFECT,  # internal error, data corrupted
}

#: Codes that differ from their class.
CODES: Mapping[str, Failure] = {
    "25006": Failure.WRONG_SESSION,  # read-only SQL transaction
    "25P03": Failure.CONNECTION_LOST,  # idle-in-transaction session time-out
    "25P04": Failure.CONNECTION_LOST,  # transaction time-out
    "40002": Failure.DEFECT,  # transaction integrity constraint violation
    "40003": Failure.CONNECTION_LOST,  # statement completion unknown
    "42501": Failure.MISSING_RIGHT,  # insufficient privilege
    "42P05": Failure.WRONG_SESSION,  # duplicate prepared statement: a pooler gave us another server session
    "53300": Failure.WRONG_SESSION,  # too many connections: raised while a session is opened
    "55006": Failure.TRANSIENT,  # object in use
    LOCK_NOT_AVAILABLE: Failure.TRANSIENT,
    "57P01": Failure.CONNECTION_LOST,  # admin shutdown
    "57P02": Failure.CONNECTION_LOST,  # crash shutdown
    "57P03": Failure.CONNECTION_LOST,  # cannot connect now
    "57P04": Failure.CONNECTION_LOST,  # database dropped
    "57P05": Failure.CONNECTION_LOST,  # idle session time-out
}

_REMEDIES: Mapping[str, str] = {
    READ_ONLY: "point WE_POSTGRES_DSN at the primary, or switch default_transaction_read_only off for this database "
    "and role",
    "53100": "free space on the database's disk",
    "53300": "raise max_connections, or lower DB_MAX_CONNS",
    LOCK_NOT_AVAILABLE: "find what holds the lock in pg_locks, then start again",
    "57014": "a time-out or an operator cancelled the statement: start again",
}
_REMEDY_OF: Mapping[Failure, str] = {
    Failure.CONNECTION_LOST: "look at the database's log for why the session ended, then start again",
    Failure.WRONG_SESSION: "give the engine a session of its own, without a pooler in between",
    Failure.TRANSIENT: "start again once the database can do it",
}


def classify(sqlstate: str) -> Failure:
    """By the code if it is special, else by its class; what PostgreSQL's manual does not have is a defect."""
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], Failure.DEFECT)


def remedy(sqlstate: str) -> str:
    """What an operator whose boot or migration ended with this can do; empty when it depends on what was done."""
    return _REMEDIES.get(sqlstate) or _REMEDY_OF.get(classify(sqlstate), "")
