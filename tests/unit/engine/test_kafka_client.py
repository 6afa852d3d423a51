"""Which of Kafka's clients is imported when, and the one name that the second has verified (contract 7.1)."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seatrial.cluster.certificate import Authority, new_authority
from windlass.dispatch.kafka.kafka_python_network import Network
from windlass.dispatch.kafka.one_name import OneNameContext, one_name_context

NAME = "broker.example"
SECURED = """
from windlass.config import kafka_settings_from_env
from windlass.dispatch.kafka.choice import kafka_publisher
kafka_publisher(kafka_settings_from_env({
    "WE_KAFKA_SEED_BROKERS": "a.example:9093", "WE_KAFKA_TRANSPORT": "sasl_scram_tls", "WE_KAFKA_SASL_USERNAME": "me",
    "WE_KAFKA_SASL_PASSWORD": "secret", "WE_KAFKA_TLS_SERVER_NAME": "%s",
}), print)
"""


@pytest.mark.parametrize(
    ("program", "imported"),
    [
        ("import windlass.app", []),
        ("import windlass.outbox_mode, windlass.dispatch.brokers, windlass.dispatch.kafka.command", []),
        (SECURED % "", ["confluent_kafka"]),
        (SECURED % "a.example", ["kafka"]),
        (SECURED % NAME, ["kafka"]),
    ],
    ids=["polling", "nothing chosen yet", "usual", "the seed broker's host", "another name"],
)
def test_a_client_is_imported_when_it_is_chosen(program: str, imported: list[str]) -> None:
    told = "import sys\nprint([name for name in ('confluent_kafka', 'kafka') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{told}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(imported)


# -- the one name


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("An authority")


class Server:
    """One end of a connection; `asked_for` is the name that the other end asked for."""

    def __init__(self, folder: Path, authority: Authority, *names: str) -> None:
        self.asked_for: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.write_server(folder / "server.pem", names, []))
        self.context.sni_callback = lambda _socket, name, _context: self.asked_for.append(name)

    def meet(self, client: OneNameContext, dialled: str) -> str | None:
        """The version that both speak. Raises SSLError as the client does."""
        ours, theirs = socket.socketpair()
        with ThreadPoolExecutor(1) as other, ours, theirs:
            serving = other.submit(self._serve, theirs)
            try:
                with client.wrap_socket(ours, server_hostname=dialled) as secured:
                    return secured.version()
            finally:
                serving.result(10)

    def _serve(self, connection: socket.socket) -> None:
        try:
            self.context.wrap_socket(connection, server_side=True).close()
        except (ssl.SSLError, OSError):
            connection.close()


def test_the_one_name_is_asked_for_and_verified_whatever_is_dialled(
    tmp_path: Path, authority: Authority
) -> None:
    ca = str(authority.write(tmp_path / "ca.crt"))
    server = Server(tmp_path, authority, NAME)
    for dialled in (NAME, "a.example", "127.0.0.1"):
        assert server.meet(one_name_context(NAME, ca), dialled) == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'other\.example'"):
            server.meet(one_name_context("other.example", ca), dialled)
    assert server.asked_for == [NAME, "other.example"] * 3
    other = str(new_authority("Another").write(tmp_path / "other.crt"))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        server.meet(one_name_context(NAME, other), NAME)


@pytest.mark.parametrize("hangs_up", [True, False], ids=["in good order", "at once"])
def test_the_last_words_of_whoever_hangs_up_are_heard(
    tmp_path: Path, authority: Authority, hangs_up: bool
) -> None:
    """Read as kafka-python does: all there is, and nothing of it when that ends."""
    server = Server(tmp_path, authority, NAME)
    context = one_name_context(NAME, str(authority.write(tmp_path / "ca.crt")))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with server.context.wrap_socket(theirs, server_side=True) as secured:
            secured.sendall(b"Authentication failed")
            if hangs_up:
                secured.unwrap()

    with ThreadPoolExecutor(1) as other, ours, theirs:
        serving = other.submit(serve)
        with context.wrap_socket(ours, server_hostname="a.example") as secured:
            if not hangs_up:
                serving.result(10)
            secured.setblocking(False)
            heard = [all_there_is(secured) for _ in range(2)]
            assert heard == [(b"Authentication failed", False), (b"", True)]


def all_there_is(secured: ssl.SSLSocket) -> tuple[bytes, bool]:
    """Up to where there is no more for now, and whether it was the end."""
    found = b""
    while select.select([secured], [], [], 10)[0]:
        try:
            while part := secured.recv(4096):
                found += part
        except ssl.SSLWantReadError:
            if found:
                return found, False
        except OSError:
            return found, True
        else:
            return found, True
    raise AssertionError("neither more nor the end")


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path, authority: Authority) -> None:
    context = one_name_context(NAME, str(authority.write(tmp_path / "ca.crt")))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    server = Server(tmp_path, authority, NAME)
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert server.meet(context, "a.example") == "TLSv1.2"


@pytest.mark.parametrize("name", ["", ".example", f"{'x' * 64}.example"])
def test_what_is_no_name_of_a_host_is_refused_before_anything_is_dialled(name: str) -> None:
    with pytest.raises(ValueError, match=r"hostname|label|idna"):
        one_name_context(name, None)


def test_the_client_asks_for_no_topic_so_that_it_is_created() -> None:
    """Its own setting of that name does not reach the request."""
    network = Network(lambda _: None)
    made = network(bootstrap_servers="127.0.0.1:1", allow_auto_create_topics=False)
    try:
        assert made.cluster.metadata_request().allow_auto_topic_creation is False
    finally:
        network.close()
