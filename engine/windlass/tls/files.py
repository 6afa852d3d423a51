"""The files of TLS, read and tried before a port uses them: a library's errors are not a user's words.

Imported when TLS is on: `cryptography` is large.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from windlass import secret_files
from windlass.errors import BootRefused
from windlass.tls_settings import TlsSettings

FILE_BYTES_MAX = 1024 * 1024
CERT_FILE, KEY_FILE, CLIENT_CA_FILE = (
    "WINDLASS_TLS_CERT_FILE",
    "WINDLASS_TLS_KEY_FILE",
    "WINDLASS_TLS_CLIENT_CA_FILE",
)
RSA_BITS_MIN = 2048
#: Forward secrecy and authenticated encryption; TLS 1.3 has no others. As Mozilla's "intermediate" without finite-field
#: Diffie-Hellman, https://wiki.mozilla.org/Security/Server_Side_TLS
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_READS_MAX = 3
_KEYS = (
    "an RSA key of 2048 bits or more, or an EC key on P-256 or P-384, which the clients of both doors take"
)


@dataclass(frozen=True, slots=True)
class Texts:
    """What the files hold, PEM."""

    chain: str
    key: str = field(repr=False)
    authorities: str | None


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """`context` serves the doors that are ours; the library of gRPC makes its own of `texts`."""

    texts: Texts
    context: ssl.SSLContext
    #: Unix time
    expires_at_s: float
    serial: str


def read_texts(settings: TlsSettings) -> Texts:
    """Raises BootRefused, without any of what the files hold."""
    return Texts(
        _text(CERT_FILE, settings.tls_cert_file or ""),
        _text(KEY_FILE, settings.tls_key_file or ""),
        None if settings.tls_client_ca_file is None else _text(CLIENT_CA_FILE, settings.tls_client_ca_file),
    )


def read(settings: TlsSettings) -> ServerCertificate:
    """Raises BootRefused, naming file and remedy."""
    for _ in range(_READS_MAX):
        texts = read_texts(settings)
        leaf = _leaf(settings, texts)
        context = _context(settings, texts)
        # Python's TLS loads them from the files: what it has is what was judged, if they have not changed meanwhile.
        if read_texts(settings) == texts:
            expires_at_s = leaf.not_valid_after_utc.timestamp()
            return ServerCertificate(texts, context, expires_at_s, f"{leaf.serial_number:x}")
    raise BootRefused(
        f"{CERT_FILE} names {settings.tls_cert_file!r}, which changes while it is read; replace both files at once"
    )


def _text(variable: str, path: str) -> str:
    try:
        return secret_files.content(path, FILE_BYTES_MAX)
    except secret_files.Unusable as error:
        raise BootRefused(f"{variable} {error}") from None


def _leaf(settings: TlsSettings, texts: Texts) -> x509.Certificate:
    """The server's own certificate, when the key is its key."""
    leaf = _certificates(CERT_FILE, settings.tls_cert_file, texts.chain)[0]
    if texts.authorities is not None:
        _certificates(CLIENT_CA_FILE, settings.tls_client_ca_file, texts.authorities)
    where = f"{KEY_FILE} names {settings.tls_key_file!r}"
    try:
        key = load_pem_private_key(texts.key.encode(), password=None)
    except TypeError:
        raise BootRefused(
            f"{where}, whose key has a password; write it without one, as openssl pkey -in KEY -out PLAIN does"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BootRefused(f"{where}, which has no readable PEM private key in it; write it as PEM") from None
    if isinstance(key, rsa.RSAPrivateKey):
        is_fit = key.key_size >= RSA_BITS_MIN
    else:
        is_fit = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
            key.curve, ec.SECP256R1 | ec.SECP384R1
        )
    if not is_fit:
        raise BootRefused(f"{where}, whose key does not serve here; use {_KEYS}")
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise BootRefused(
            f"{where}, which is not the key of the first certificate in {settings.tls_cert_file!r}; put both there "
            "together, the server's own certificate before the intermediate ones"
        )
    return leaf


def _certificates(variable: str, path: str | None, text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise BootRefused(
            f"{variable} names {path!r}, which has no PEM certificate in it, or a damaged one; write it as PEM"
        ) from None


def _context(settings: TlsSettings, texts: Texts) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    # A caller could have the node compute new keys again and again.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    assert settings.tls_cert_file is not None
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, password=lambda: "")
        if texts.authorities is not None:
            context.load_verify_locations(cadata=texts.authorities)
            # Who calls without one has a token, or asks for health: the gate decides.
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or type(error).__name__
        raise BootRefused(
            f"{CERT_FILE} names {settings.tls_cert_file!r}, which cannot serve with its key and CAs: {reason}; "
            "make it again"
        ) from None
    return context
