"""The command: `windlass` alone serves; its commands migrate, check the configuration, print the version and so
on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from windlass.stop_signals import end_at_once

if TYPE_CHECKING:
    from windlass.config import Settings

USAGE = """\
windlass: a minimal workflow engine on PostgreSQL

usage: windlass [COMMAND]

commands:
  serve          API, dispatch and sweeps in one process (the default)
  api            API and dispatch only
  scheduler      sweeps, relay and health pages, no API; any number may run
  migrate        bring the schema up to date, then exit; with --app-role NAME, also give that role what an engine needs
  prune          remove what finished long ago; see windlass prune --help
  topics         print the Kafka topics that definitions need, or create them; see windlass topics --help
  token          token new makes a token and its line for WINDLASS_TOKENS_FILE; see windlass token --help
  check-config   print the settings in force, passwords masked, or all errors in them
  version        print the version

Everything is configured by environment variables and, optionally, /etc/workflow/engine.yaml;
`windlass check-config` lists them all.

examples:
  WE_POSTGRES_DSN=postgresql://windlass:secret@localhost:5432/windlass windlass
  WE_POSTGRES_DSN=... windlass migrate && WE_POSTGRES_DSN=... WINDLASS_MIGRATE_ON_START=false windlass serve
  WE_POSTGRES_DSN=postgresql://owner:...@... windlass migrate --app-role app
  WE_POSTGRES_DSN=... WE_LOG_LEVEL=debug windlass check-config
  WE_POSTGRES_DSN=... windlass prune --older-than 30d --dry-run
  windlass token new --role worker --name mailer --job-type send-mail
  windlass topics --definitions workflows/*.json --partitions 8 --replication-factor 3
"""

EXIT_FAILED, EXIT_MISUSED = 1, 2
_SERVING = frozenset({"serve", "api", "scheduler"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed with a message, 2 no such command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["topics"]:
        from windlass.dispatch.kafka.command import run

        return run(words[1:])
    if words[:1] == ["token"]:
        from windlass.auth.command import run as make_token

        return make_token(words[1:])
    if words[:1] == ["prune"]:
        return _prune(words[1:])
    if {"-h", "--help", "help"} & set(words):
        sys.stdout.write(USAGE)
        return 0
    command = words[0] if words else "serve"
    if command in {"version", "--version"} and len(words) == 1:
        sys.stdout.write(f"windlass {version('windlass')}\n")
        return 0
    if command == "migrate" and len(words) > 1:
        return _migrate_with(words[1:])
    act = _COMMANDS.get(command)
    # A node that has not begun has nothing to end; every other command has not done what it was asked.
    end_at_once(0 if command in _SERVING else EXIT_FAILED)
    if act is None or len(words) > 1:
        unknown = command if act is None else words[1]
        known = ", ".join([*_COMMANDS, "prune", "token", "topics", "version"])
        sys.stderr.write(
            f"windlass: unknown command or argument {unknown!r}; use one of {known}, or --help\n"
        )
        return EXIT_MISUSED
    return _with_settings(command, act)


def _with_settings(command: str, act: Callable[[str, Settings], int]) -> int:
    from windlass.config import ConfigError, settings_from_env

    try:
        settings = settings_from_env(os.environ)
    except ConfigError as error:
        if command == "check-config":
            sys.stderr.write(f"{error}\n")
        else:
            _fatal(str(error))
        return EXIT_FAILED
    return act(command, settings)


def _fatal(text: str) -> None:
    """One JSON line on standard output and the same text on standard error (contract 8.4)."""
    from windlass.telemetry.events import Event
    from windlass.telemetry.log import Log
    from windlass.telemetry.output import standard_output

    Log("info", standard_output()).error(Event.FATAL, err=text)
    sys.stderr.write(f"{text}\n")


def _run(role: str, settings: Settings) -> int:
    if settings.log_level != "debug":
        # gRPC's C library reads this when it is imported. Otherwise it would write lines of its own into the log,
        # some for any bad frame of a caller.
        os.putenv("GRPC_VERBOSITY", "NONE")
    from windlass import app

    return app.run(role, settings)


def _migrate(_: str, settings: Settings) -> int:
    from windlass import maintenance

    return maintenance.migrate(settings)


def _migrate_with(words: Sequence[str]) -> int:
    """`--app-role NAME` or `--app-role=NAME`."""
    option, equals, role = words[0].partition("=")
    if not equals and len(words) == 2:
        role = words[1]
    if option != "--app-role" or not role or len(words) > (1 if equals else 2):
        sys.stderr.write(
            f"windlass: migrate does not understand {' '.join(words)!r}; write windlass migrate --app-role NAME\n"
        )
        return EXIT_MISUSED

    def migrate(_: str, settings: Settings) -> int:
        from windlass import maintenance

        return maintenance.migrate(settings, role)

    return _with_settings("migrate", migrate)


def _prune(words: Sequence[str]) -> int:
    from windlass.prune import parse

    order = parse(words)

    def act(_: str, settings: Settings) -> int:
        from windlass import maintenance

        return maintenance.prune(settings, order)

    return _with_settings("prune", act)


def _check_config(_: str, settings: Settings) -> int:
    from windlass.auth import file
    from windlass.config import resolved
    from windlass.errors import BootRefused

    try:
        if settings.access.tokens_file is not None:
            file.read(settings.access.tokens_file)
        if settings.tls.is_on:
            from windlass.tls.files import read

            read(settings.tls)
    except BootRefused as error:
        sys.stderr.write(f"config: {error}\n")
        return EXIT_FAILED
    for variable, value in resolved(settings):
        path = settings.secret_files.get(variable.name)
        default = "  (default)" if value == variable.default_text else ""
        origin = f"  (from file {path})" if path else default
        sys.stdout.write(f"{variable.name}={value}{origin}\n")
    for warning in settings.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    return 0


_COMMANDS: dict[str, Callable[[str, Settings], int]] = {
    "serve": _run,
    "api": _run,
    "scheduler": _run,
    "migrate": _migrate,
    "check-config": _check_config,
}


if __name__ == "__main__":
    sys.exit(main())
