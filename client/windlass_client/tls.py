"""TLS to an engine: whom the client trusts, and the certificate that it shows. Files are read again on a change."""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

LOOK_INTERVAL_S = 2.0
File = str | PathLike[str]

log = logging.getLogger("windlass_client")


@dataclass(frozen=True, slots=True)
class Texts:
    """PEM. No authorities: the system's."""

    authorities: str | None
    certificate: str | None
    key: str | None


class Tls:
    """`ca_file`: of the CAs that may have issued the engine's certificate, instead of the system's. `cert_file`,
    `key_file`: the client's own, both or none; the key has no password.
    """

    def __init__(self, ca_file: File | None, cert_file: File | None, key_file: File | None) -> None:
        if (cert_file is None) != (key_file is None):
            raise ValueError("a client's certificate needs cert_file and key_file; give both, or none")
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self._looked_at_s = 0.0
        self._trouble = ""
        self.texts = Texts(None, None, None)

    @property
    def is_given(self) -> bool:
        return self._ca_file is not None or self._cert_file is not None

    def begin(self) -> None:
        """Raises ValueError naming a file that cannot be used."""
        self.texts = self._read()
        self._looked_at_s = time.monotonic()

    def is_renewed(self) -> bool:
        """Whether `texts` are others than at the last call; looks at most every `LOOK_INTERVAL_S`. Files that cannot be
        used meanwhile change nothing, and a warning says so once.
        """
        now_s = time.monotonic()
        if not self.is_given or now_s - self._looked_at_s < LOOK_INTERVAL_S:
            return False
        self._looked_at_s = now_s
        try:
            texts = self._read()
        except ValueError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("TLS: %s; what was read before stays in use", error)
            return False
        self._trouble = ""
        is_new, self.texts = texts != self.texts, texts
        return is_new

    def context(self) -> ssl.SSLContext:
        """Of the files as they are, for REST. The system's CAs are those of OpenSSL, or of SSL_CERT_FILE."""
        context = ssl.create_default_context(cadata=self.texts.authorities)
        if self._cert_file is not None:
            context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        return context

    def _read(self) -> Texts:
        texts = Texts(
            _text("ca_file", self._ca_file),
            _text("cert_file", self._cert_file),
            _text("key_file", self._key_file),
        )
        if texts.authorities is not None:
            fault = (
                f"ca_file {str(self._ca_file)!r} has no readable PEM certificate in it; name a file of CAs"
            )
            if not texts.authorities.strip():
                # Python takes the system's for it.
                raise ValueError(fault)
            try:
                ssl.create_default_context(cadata=texts.authorities)
            except (ssl.SSLError, ValueError):
                raise ValueError(fault) from None
        if self._cert_file is not None:
            try:
                ssl.create_default_context().load_cert_chain(
                    self._cert_file, self._key_file, password=lambda: ""
                )
            except (OSError, ValueError):  # ssl.SSLError is an OSError
                raise ValueError(
                    f"cert_file {str(self._cert_file)!r} and key_file {str(self._key_file)!r} are no PEM certificate "
                    "and its key without a password; give those that belong together"
                ) from None
        return texts


def system_authorities() -> str:
    """The PEM texts of the CAs that Python trusts, and so REST; the library of gRPC comes with a list of its own."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_text()
    texts = []
    if paths.capath:
        # Names are hashes of subjects, as c_rehash makes them.
        texts = [each.read_text() for each in sorted(Path(paths.capath).glob("*.[0-9]"))]
    if not texts:
        raise ValueError("this system has no list of CAs; give ca_file, or set SSL_CERT_FILE")
    return "\n".join(texts)


def _text(argument: str, path: File | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"{argument} {str(path)!r} cannot be read: {reason}") from None
