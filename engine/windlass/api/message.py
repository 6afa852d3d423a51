"""A REST call's message while it arrives: its target, its headers, the parts of its body."""

from __future__ import annotations

from windlass.auth.principal import Principal

LINE_BYTES = len(b": \r\n")
"""What a header line holds besides name and value."""


class Message:
    """Names of headers are lower case; of a repeated one the first value counts."""

    __slots__ = (
        "body_bytes", "chunks", "expects", "fed_bytes", "headers", "hosts", "is_in_head", "line_bytes", "principal",
        "url",
    )  # fmt: skip

    def __init__(self, *, fed_bytes: int = 0, is_in_head: bool = False) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        #: header lines that name the host
        self.hosts = 0
        #: of header and trailer lines, and of bytes behind the head that the parser has not used yet
        self.line_bytes = 0
        self.is_in_head = is_in_head
        #: of what the parser got while it was in the head; below 0, what it gets now is not all of this message
        self.fed_bytes = fed_bytes
        #: its caller waits for 100 Continue
        self.expects = False
        #: who calls, as the gate found
        self.principal: Principal | None = None
        self.chunks: list[bytes] = []
        self.body_bytes = 0
