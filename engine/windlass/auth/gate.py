"""The gate: from a call and its Authorization to a principal, or to the reason why not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from windlass.auth.attempts import Attempts, counted_address
from windlass.auth.calls import Call
from windlass.auth.principal import Principal
from windlass.auth.tokens import TOKEN_CHARS_MAX, digest_of
from windlass.errors import Forbidden, TooManyAttempts, Unauthenticated, Unavailable

_SCHEME = "bearer"
_DOTS_OF_A_JWT = 2


class Refusal(StrEnum):
    """Why a call was refused, as the metric's label says it."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    INVALID = "invalid"
    KEYS = "keys"
    TOO_MANY = "too_many"
    CERTIFICATE = "certificate"
    ROLE = "role"
    JOB_TYPE = "job_type"
    DEFINITION = "definition"
    REGISTRATION = "registration"


class NotRecognized(Exception):
    """Credentials that are no good here: why, as the metric says it, and for the caller."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


class Verifier(Protocol):
    """What `windlass.auth.jwt_verifier.JwtVerifier` is to the gate."""

    def principal_of(self, token: str, digest: bytes) -> Principal:
        """Raises NotRecognized, or Unavailable while the issuer's keys are awaited."""
        ...


class Gate:
    """One for a node. `refused` is told of every refusal of its own; `wall_s` is the clock that tokens expire by."""

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
        #: who judges JWTs; None = there is no issuer
        self.jwt: Verifier | None = None
        self._refused = refused
        self._wall_s = wall_s
        self._attempts = attempts or Attempts()

    def require_role(self, principal: Principal, call: Call) -> None:
        """Raises Forbidden, naming role and action."""
        if call.roles is None or not call.roles.isdisjoint(principal.roles):
            return
        self._refused(Refusal.ROLE)
        has = f"the role {', '.join(sorted(principal.roles))}" if principal.roles else "no role here"
        raise Forbidden(
            f"the caller {principal.name!r} has {has}, which may not {call.action}; use credentials with one of the "
            f"roles {', '.join(sorted(call.roles))}"
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
        is_jwt = self.jwt is not None and token.count(".") == _DOTS_OF_A_JWT
        digest = digest_of(token if is_jwt else token[:TOKEN_CHARS_MAX])
        address = counted_address(host)
        wait_s = self._attempts.holds_up(address, digest)
        if wait_s:
            self._refused(Refusal.TOO_MANY)
            raise TooManyAttempts(
                f"too many wrong tokens came from {address}; try again in {math.ceil(wait_s)} s",
                retry_after_s=math.ceil(wait_s),
            )
        try:
            principal = self._recognized(token, digest, is_jwt=is_jwt)
        except NotRecognized as error:
            self._attempts.wrong(address)
            self._refused(error.refusal)
            raise Unauthenticated(error.reason, is_invalid=True) from None
        except Unavailable:
            self._refused(Refusal.KEYS)
            raise
        self._require_valid(principal)
        self._attempts.right(address, digest)
        return principal

    def _recognized(self, token: str, digest: bytes, *, is_jwt: bool) -> Principal:
        if is_jwt and self.jwt is not None:
            return self.jwt.principal_of(token, digest)
        principal = self.tokens.get(digest)
        if principal is None:
            where = "the tokens file" if self.jwt is None else "the tokens file, or a JWT of the issuer"
            raise NotRecognized(Refusal.UNKNOWN, f"the token is not known here; send one of {where}")
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
                f"the credentials of {principal.name!r} have expired; get new ones", is_invalid=True
            )
