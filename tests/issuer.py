"""An issuer of JWTs: real keys, a JWK Set, and a server that gives it out over TLS."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from seatrial.cluster.certificate import new_authority

ISSUER, AUDIENCE = "https://login.example.com", "windlass"
#: of WINDLASS_JWT_ROLES; each role by its own name, and one value for two of them
ROLES = "client=client,worker=worker,operator=operator,metrics=metrics,admin=admin,both=client,both=worker"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A private key of the issuer."""

    def __init__(
        self, algorithm: str = "ES256", key_id: str | None = "key-1", *, rsa_bits: int = 2048
    ) -> None:
        self.algorithm, self.key_id = algorithm, key_id
        self.private: Any
        if algorithm == "RS256":
            self.private = rsa.generate_private_key(65537, rsa_bits)
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    def public(self, **more: Any) -> dict[str, Any]:
        """As the set has it."""
        written: Any = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key())
        identity = {} if self.key_id is None else {"kid": self.key_id}
        return {**json.loads(written), **identity, **more}

    def token(self, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """Signed; a claim or a part of the header that is changed to None is left out."""
        return self.signed(json.dumps(claims(**changed)), header)

    def signed(self, payload: str, header: Mapping[str, Any] | None = None) -> str:
        parts = {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id, **(header or {})}
        head = json.dumps({name: part for name, part in parts.items() if part is not None})
        body = f"{encoded(head.encode())}.{encoded(payload.encode())}"
        signature = jwt.get_algorithm_by_name(self.algorithm).sign(body.encode(), self.private)
        return f"{body}.{encoded(signature)}"


def claims(**changed: Any) -> dict[str, Any]:
    now_s = int(time.time())
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "iat": now_s,
        "exp": now_s + 3600,
        "roles": ["admin"],
        **changed,
    }
    return {name: value for name, value in found.items() if value is not None}


def key_set(*signers: Signer) -> bytes:
    return json.dumps({"keys": [signer.public() for signer in signers]}).encode()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that do not trust it, or go away, are what tests are about."""


class KeyServer:
    """At https://localhost. What it answers may be changed while it runs; `asked` counts."""

    def __init__(self, folder: Path, body: bytes) -> None:
        self.status, self.body = 200, body
        self.headers: dict[str, str] = {}
        self.asked = 0
        #: cleared, it lets callers wait
        self.answers = threading.Event()
        self.answers.set()
        authority = new_authority("issuer")
        self.ca_path = str(authority.write(folder / "issuer-ca.pem"))
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(authority.write_server(folder / "issuer.pem", ["localhost"], []))
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://localhost:{self._server.server_address[1]}/keys"

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked += 1
                site.answers.wait(30)
                with contextlib.suppress(OSError):
                    self.send_response(site.status)
                    for name, value in site.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(site.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@contextlib.contextmanager
def key_server(folder: Path, *signers: Signer) -> Iterator[KeyServer]:
    server = KeyServer(folder, key_set(*signers))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
