"""Stands where a server of the cluster would: counts the calls that it reads, and treats them as it is told.

PUT /mode/NAME (ok, drop, busy, unready; closed for some seconds) changes what it does with the calls that follow, and
GET /seen tells them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLOSED_S = 3.0

seen: list[str] = []
state = {"mode": "ok"}


class Handler(BaseHTTPRequestHandler):
    def _handle(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/mode/"):
            state["mode"] = self.path.rpartition("/")[2]
            seen.clear()
            self._answer(200, {})
            if state["mode"] == "closed":
                threading.Thread(target=self.server.shutdown).start()
        elif self.path == "/seen":
            self._answer(200, seen)
        elif self.path == "/ready":
            self._answer(503 if state["mode"] == "unready" else 200, {})
        else:
            self._call()

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _call(self) -> None:
        seen.append(f"{self.command} {self.path}")
        match state["mode"]:
            case "drop":
                self.close_connection = True
            case "busy":
                self._answer(503, {"error": "unavailable"})
            case _:
                self._answer(200, {"server": sys.argv[1], "path": self.path, "headers": dict(self.headers)})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_args: object) -> None:
        """Its calls are told by /seen."""


if __name__ == "__main__":
    while True:
        with ThreadingHTTPServer(("", 8080), Handler) as server:
            server.serve_forever(poll_interval=0.01)
        # Nobody listens meanwhile: connections are refused.
        time.sleep(CLOSED_S)
