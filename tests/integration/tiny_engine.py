"""The least that is an engine to a cluster: answers /healthz and /ready, beats into its database, obeys SIGTERM.

Given a word it misbehaves: `exits` ends with 3 after saying its DSN, `never-ready` is what it says, `sick`
fails its liveness from the third look on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

BEAT_INTERVAL_S = 0.02
MISBEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else ""
DSN = os.environ["WE_POSTGRES_DSN"]
NAME = os.environ["WINDLASS_NODE_NAME"]


def connect() -> psycopg.Connection:
    return psycopg.connect(DSN, autocommit=True, connect_timeout=2)


def beat() -> None:
    """One session for good; a new one as soon as it is lost."""
    while True:
        try:
            with connect() as connection:
                while True:
                    connection.execute("INSERT INTO beat (replica) VALUES (%s)", (NAME,))
                    time.sleep(BEAT_INTERVAL_S)
        except psycopg.Error:
            time.sleep(BEAT_INTERVAL_S)


class Handler(BaseHTTPRequestHandler):
    looks = 0

    def do_GET(self) -> None:
        match self.path:
            case "/healthz":
                Handler.looks += 1
                is_sick = MISBEHAVIOUR == "sick" and Handler.looks > 2
                self.answer(500 if is_sick else 200, "alive")
            case "/ready":
                self.ready()
            case "/env":
                self.answer(200, json.dumps(dict(os.environ)))
            case "/child":
                self.answer(200, str(subprocess.Popen(["sleep", "600"]).pid))
            case _:
                self.answer(404, self.path)

    def ready(self) -> None:
        if MISBEHAVIOUR == "never-ready":
            self.answer(503, "the tide is out")
            return
        try:
            with connect() as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as err:
            self.answer(503, str(err))
        else:
            self.answer(200, "ready")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, flush=True)


def main() -> None:
    print("tiny engine of", NAME, flush=True)
    if MISBEHAVIOUR == "exits":
        print("cannot use", DSN, flush=True)
        sys.exit(3)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with connect() as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute("CREATE TABLE IF NOT EXISTS beat (id bigserial, replica text)")
    threading.Thread(target=beat, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["WE_REST_PORT"])), Handler).serve_forever()


main()
