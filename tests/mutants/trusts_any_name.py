"""Takes a broker's certificate whatever name it bears, where it is told one to look for."""

from __future__ import annotations

import ssl
from typing import Any

import mutation

from windlass.dispatch.kafka.one_name import OneNameContext

honest = OneNameContext.wrap_socket


def any_name(self: OneNameContext, *arguments: Any, **options: Any) -> ssl.SSLSocket:
    self.check_hostname = False
    return honest(self, *arguments, **options)


OneNameContext.wrap_socket = any_name  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
