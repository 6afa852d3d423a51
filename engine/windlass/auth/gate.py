"""The gate: from a call and its Authorization to a principal, or to the reason why not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from windlass.auth.attempts import Attempts, address_of
from windlass.auth.calls import Call
from windlass.auth.principal import Principal
from windlass.auth.tokens import TOKEN_CHARS_MAX, digest_of
from windlass.errors import Forbidden, TooManyAttempts, Unauthenticated

_SCHEME = "bearer"


class Refusal(StrEnum):
    """Why a call was refused, as the metric's label says it."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    TOO_MANY = "too_many"
    CERTIFICATE = "certificate"
    ROLE = "role"


class Gate:
    """One for a node. `refused` is told of every refusal; `wall_s` is the clock that tokens expire by."""

    def __init__(
        self,
        tokens: Mapping[bytes | str, Principal],
        refused: Callable[[Refusal], None] = lambda _: None,
        *,
        wall_s: Callable[[], float] = time.time,
        attempts: Attempts | None = None,
    ) -> None:
        #: replaced as a whole when the file changes
        self.tokens = tokens
        self._refused = refused
        self._wall_s = wall_s
        self._attempts = attempts or Attempts()

    def require_role(self, principal: Principal, call: Call) -> None:
        """Raises Forbidden, naming role and action."""
        if call.roles is not None and principal.role not in call.roles:
            self._refused(Refusal.ROLE)
            raise Forbidden(
                f"the token {principal.name!r} has the role {principal.role}, which may not {call.action}; use a token "
                f"with one of the roles {', '.join(sorted(call.roles))}"
            )

    def principal_of(
        self, authorization: str | None, host: str, certificate: frozenset[str] = frozenset()
    ) -> Principal:
        """A token counts alone, also where it is wrong; `certificate`, what the caller's names it as, is for calls
        without one. Raises Unauthenticated, or TooManyAttempts, which is one.
        """
        if authorization is None and certificate:
            return self._holder_of(certificate)
        scheme, _, rest = (authorization or "").partition(" ")
        token = rest.strip()
        if scheme.lower() != _SCHEME or not token:
            self._refused(Refusal.MISSING)
            raise Unauthenticated("this engine needs a token; send it as Authorization: Bearer TOKEN")
        digest = digest_of(token[:TOKEN_CHARS_MAX])
        address = address_of(host)
        wait_s = self._attempts.holds_up(address, digest)
        if wait_s:
            self._refused(Refusal.TOO_MANY)
            raise TooManyAttempts(
                f"too many wrong tokens came from {address}; try again in {math.ceil(wait_s)} s",
                retry_after_s=math.ceil(wait_s),
            )
        principal = self.tokens.get(digest)
        if principal is None:
            self._attempts.wrong(address)
            self._refused(Refusal.UNKNOWN)
            raise Unauthenticated("the token is not known here; send one of the tokens file", is_invalid=True)
        self._require_valid(principal)
        self._attempts.right(address, digest)
        return principal

    def _holder_of(self, certificate: frozenset[str]) -> Principal:
        found = [self.tokens[name] for name in certificate if name in self.tokens]
        if len(found) != 1:
            self._refused(Refusal.CERTIFICATE)
            lines = (
                f"the lines {', '.join(sorted(repr(each.name) for each in found))}" if found else "no line"
            )
            raise Unauthenticated(
                f"the certificate fits {lines} of the tokens file; have one line name it, or send a token"
            )
        self._require_valid(found[0])
        return found[0]

    def _require_valid(self, principal: Principal) -> None:
        if principal.expires_at_s is not None and self._wall_s() >= principal.expires_at_s:
            self._refused(Refusal.EXPIRED)
            raise Unauthenticated(
                f"the token {principal.name!r} has expired; get a new one, see windlass token new",
                is_invalid=True,
            )
