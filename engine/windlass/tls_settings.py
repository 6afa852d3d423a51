"""The variables of TLS at the doors, beside `config.py`, which reads them."""

from __future__ import annotations

from dataclasses import dataclass

from windlass.secret_values import judge_path
from windlass.variable import Reader, declare, declared_by


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    tls_cert_file: str | None = declare(
        "WINDLASS_TLS_CERT_FILE",
        "PEM file of the certificate that REST, gRPC and metrics show, followed by the intermediate ones; read again "
        "when it changes; unset = no TLS",
    )
    tls_key_file: str | None = declare(
        "WINDLASS_TLS_KEY_FILE", "PEM file of its private key, without a password; read again when it changes"
    )
    tls_client_ca_file: str | None = declare(
        "WINDLASS_TLS_CLIENT_CA_FILE",
        "PEM file of the CAs that callers' certificates are verified by; read again when it changes; over REST a "
        "caller may still come without one, over gRPC each needs one; unset = none is asked for",
    )
    tls_metrics: bool = declare(
        "WINDLASS_TLS_METRICS",
        "TLS at the metrics port too, where WINDLASS_TLS_CERT_FILE is set",
        default=True,
    )

    @property
    def is_on(self) -> bool:
        return self.tls_cert_file is not None


def read_tls(reader: Reader) -> TlsSettings:
    """What does not fit together is recorded as a problem. The files are read by `tls.files`, when a node boots."""
    declared = declared_by(TlsSettings)
    settings = TlsSettings(**{name: reader.read(variable) for name, variable in declared.items()})
    cert, key, authorities = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    for variable, path, other in (
        (declared["tls_cert_file"], cert, declared["tls_key_file"] if key is None else None),
        (declared["tls_key_file"], key, declared["tls_cert_file"] if cert is None else None),
        (declared["tls_client_ca_file"], authorities, declared["tls_cert_file"] if cert is None else None),
    ):
        if path is None:
            continue
        judge_path(reader, variable, path, "tls.crt")
        if other is not None:
            reader.problem(variable, f"is set, but {other.name} is not", "set both, or none for no TLS")
    return settings
