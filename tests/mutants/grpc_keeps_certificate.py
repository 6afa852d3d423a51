"""The door of gRPC, whose TLS is the library's, goes on with the certificate of the boot."""

from __future__ import annotations

from typing import Any

import grpc
import mutation

from windlass.api import grpc as door
from windlass.tls.watch import CertificateWatch


def credentials(watch: CertificateWatch) -> Any:
    texts = watch.current.texts
    return grpc.ssl_server_credentials([(texts.key.encode(), texts.chain.encode())])


mutation.replace(door, "credentials", credentials)

if __name__ == "__main__":
    mutation.serve()
