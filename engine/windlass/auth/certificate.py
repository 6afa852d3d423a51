"""What a caller's certificate names it as, in the words of the tokens file.

Whether the certificate may be believed is the doors' business: they verify it by WINDLASS_TLS_CLIENT_CA_FILE.
"""

from __future__ import annotations

import re
from functools import lru_cache

COMMON_NAME, DNS = "CN=", "dns:"
URI = re.compile(r"[a-z][a-z0-9+.-]*://")
WRITTEN = re.compile(r"CN=[^\x00-\x1f\x7f]{1,64}|dns:[!-~]{1,253}|[a-z][a-z0-9+.-]*://[!-~]{1,2048}")
"""As a line of the tokens file may have it: the subject's common name, or one of the alternative names, a DNS name or a
URI (RFC 5280, 4.1.2.6 and 4.2.1.6)."""
IDENTITIES_MAX = 100
"""Of one certificate; what has more names nobody."""
_CACHED = 1024


@lru_cache(_CACHED)
def identities_of(certificate: bytes) -> frozenset[str]:
    """`certificate`: DER, or PEM as the library of gRPC has it. One that cannot be read names nobody."""
    # Imported here: it is needed only where certificates are asked for.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        if certificate.startswith(b"-----BEGIN"):
            read = x509.load_pem_x509_certificate(certificate)
        else:
            read = x509.load_der_x509_certificate(certificate)
        subject = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = [f"{COMMON_NAME}{each.value}" for each in subject if isinstance(each.value, str)]
        try:
            names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            pass
        else:
            found += [f"{DNS}{name}" for name in names.get_values_for_type(x509.DNSName)]
            # A URI may be written as anything, also as one of the other names.
            found += filter(URI.match, names.get_values_for_type(x509.UniformResourceIdentifier))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return frozenset()
    return frozenset(found) if len(found) <= IDENTITIES_MAX else frozenset()
