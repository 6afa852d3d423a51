"""The command `windlass token new`: makes a token, and the line of the tokens file that stands for it."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from windlass.auth.principal import Role
from windlass.auth.tokens import Unreadable, line_of, make_token
from windlass.variable import integer_of

EXIT_FAILED = 1
DAYS_MAX = 36_500

_EPILOG = """\
The first line of the output is the token, which is shown this once and kept nowhere: give it to the caller. The second
is its line for the file that WINDLASS_TOKENS_FILE names, which holds the token's SHA-256 alone. Nodes read that file
again within seconds, so a new line needs no restart, and removing one takes the token back.

roles:
  client    starts, reads, cancels and signals instances, completes user tasks
  worker    polls, completes and fails jobs, registers itself
  operator  uploads definitions, reads and cancels instances, sees workers and nodes
  metrics   reads the metrics port, if that asks for tokens
  admin     all of these

examples:
  windlass token new --role worker --name mailer --job-type send-mail
  windlass token new --role client --name shop --definition order --expires-days 90
"""


def run(words: Sequence[str]) -> int:
    """A wrong command line ends the process with 2, a call for help with 0."""
    given = _parser().parse_args(words)
    name = given.name or f"{given.role}-{secrets.token_hex(3)}"
    token = make_token()
    expires = None
    if given.expires_days is not None:
        expires = datetime.now(UTC) + timedelta(days=given.expires_days)
    try:
        line = line_of(
            name,
            Role(given.role),
            token,
            job_types=given.job_type,
            definitions=given.definition,
            expires=expires,
        )
    except Unreadable as error:
        sys.stderr.write(f"windlass: no token was made: {error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{token}\n{line}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="windlass token",
        description="Make a token.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["new"], help="make a token and its line")
    parser.add_argument("--role", required=True, choices=list(Role), help="what it may do, see below")
    parser.add_argument("--name", help="whom it stands for, in the audit log and in log lines")
    parser.add_argument(
        "--job-type",
        action="append",
        default=[],
        metavar="TYPE",
        help="of a worker: only this type; may be repeated",
    )
    parser.add_argument(
        "--definition",
        action="append",
        default=[],
        metavar="ID",
        help="of a client or operator: only this definition; may be repeated",
    )
    parser.add_argument("--expires-days", type=_days, metavar="DAYS", help="when it ends; without it, never")
    return parser


def _days(text: str) -> int:
    days = integer_of(text)
    if days is None or not 1 <= days <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {DAYS_MAX}, got {text!r}")
    return days
