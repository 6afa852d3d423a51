"""Files that hold a secret, as Docker and Kubernetes mount them: what keeps one from being used is told without its
content.
"""

from __future__ import annotations

import stat
from pathlib import Path

CONTENT_BYTES_MAX = 64 * 1024
LOOK_INTERVAL_S = 2.0
"""Pause between two looks at a file that may change while the process runs."""


class Unusable(Exception):
    """Its text says what is wrong with the file and what to do, to be put behind the variable's name."""


def content(path: str, bytes_max: int = CONTENT_BYTES_MAX) -> str:
    """What the file holds, without one line end at its end. Raises Unusable."""
    if not path.startswith("/"):
        # Not shown: some put the secret itself here.
        raise Unusable("must be the absolute path of a file; write for example /run/secrets/NAME")
    if not path.isprintable() or "://" in path:
        raise Unusable(
            "must be the absolute path of a file, and is no path; write for example /run/secrets/NAME"
        )
    data = _data(path, bytes_max)
    if len(data) > bytes_max:
        raise Unusable(
            f"names {path!r}, which has more than {bytes_max} bytes; name the file that holds this value alone"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(
            f"names {path!r}, whose byte {error.start + 1} is not UTF-8; write the value in UTF-8"
        ) from None
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise Unusable(f"names {path!r}, which is empty; write the value into it, or unset the variable")
    if "\0" in text:
        raise Unusable(f"names {path!r}, which holds a zero byte; write the value as text")
    return text


def _data(path: str, bytes_max: int) -> bytes:
    """At most one byte more than is allowed. Anything but a file is not opened: reading a pipe may never end."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise Unusable(f"names {path!r}, which is not a file; mount a file there, or name another")
        with Path(path).open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise Unusable(
            f"names {path!r}, which cannot be read: {error.strerror}; mount it there and let this user read it, "
            "or unset the variable"
        ) from None
