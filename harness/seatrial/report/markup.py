"""HTML that cannot forget to escape: text goes in as `str`, comes out as `Html`.

What a history or a verdict says is untrusted (engines under trial write error messages), so the page is
built from elements only; the one way past the escaping is to construct `Html`, and its uses are few.
"""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_VOID = frozenset({"meta", "link", "br", "hr"})


class Html(str):
    """Markup that is already safe."""

    __slots__ = ()


Child = str | None
Attribute = str | int | bool | None


def clean(text: str) -> str:
    """The text without what neither XML, HTML nor a terminal may be given: control characters, lone
    surrogates and direction overrides become U+FFFD.
    """
    return _CONTROL.sub("\ufffd", text)


def safe(text: str) -> Html:
    return text if isinstance(text, Html) else Html(html.escape(clean(text), quote=True))


def el(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """One element. `class_` stands for class, `data_x` for data-x; None and False leave an attribute out."""
    written = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = name.rstrip("_").replace("_", "-")
        written.append(f" {attribute}" if value is True else f' {attribute}="{safe(str(value))}"')
    start = f"<{tag}{''.join(written)}>"
    if tag in _VOID:
        return Html(start)
    return Html(f"{start}{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    return Html("".join(safe(child) for child in children if child is not None))
