"""The certificate is read when the node boots, and never again."""

from __future__ import annotations

import mutation

from windlass.tls.watch import CertificateWatch


async def look(_self: CertificateWatch) -> None:
    return None


mutation.replace(CertificateWatch, "look", look)

if __name__ == "__main__":
    mutation.serve()
