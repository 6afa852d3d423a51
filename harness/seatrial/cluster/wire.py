"""What captured bytes show: whether all of them are TLS records (RFC 8446, 5.1), and words that must not be there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: change_cipher_spec, alert, handshake, application_data
_CONTENT_TYPES = frozenset({20, 21, 22, 23})
_HEADER_BYTES = 5
#: 2^14 and what encryption may add to it
_RECORD_BYTES_MAX = (1 << 14) + 2048


@dataclass(frozen=True, slots=True)
class WireReport:
    streams: int
    """Directions of connections in which anything was sent."""
    bytes: int
    plain_streams: int
    needles_seen: int


def read_wire(streams: Iterable[bytes], needles: Sequence[str]) -> WireReport:
    sent = [stream for stream in streams if stream]
    everything = b"\0".join(sent)
    return WireReport(
        streams=len(sent),
        bytes=sum(map(len, sent)),
        plain_streams=sum(not is_tls(stream) for stream in sent),
        needles_seen=sum(needle.encode() in everything for needle in needles),
    )


def is_tls(stream: bytes) -> bool:
    """Record after record from the first byte on; only the last one may be cut short."""
    position = 0
    while position < len(stream):
        header = stream[position : position + _HEADER_BYTES]
        if header[0] not in _CONTENT_TYPES or (len(header) > 1 and header[1] != 3):
            return False
        if len(header) < _HEADER_BYTES:
            return True
        length = int.from_bytes(header[3:5])
        if header[2] > 4 or not 0 < length <= _RECORD_BYTES_MAX:
            return False
        position += _HEADER_BYTES + length
    return True
