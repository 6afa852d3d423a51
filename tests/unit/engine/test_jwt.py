"""JWTs: which are taken, whom they stand for, and what an attacker tries with a header, a signature or claims."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from issuer import AUDIENCE, ISSUER, ROLES, Signer, claims, encoded, key_set
from windlass.auth import jwt_verifier
from windlass.auth import key_set as key_sets
from windlass.auth.attempts import GUESSES_AT_ONCE
from windlass.auth.calls import CALLS
from windlass.auth.claims import claim_at
from windlass.auth.gate import Gate, NotRecognized, Refusal
from windlass.auth.jwt_verifier import JWT_CHARS_MAX, JwtVerifier
from windlass.auth.key_set import Unreadable, parse
from windlass.auth.principal import Principal, Role
from windlass.auth.tokens import digest_of
from windlass.errors import Forbidden, TooManyAttempts, Unauthenticated, Unavailable
from windlass.jwt_settings import JwtSettings

ES, RS, ED = Signer("ES256", "es"), Signer("RS256", "rs"), Signer("EdDSA", "ed")
STRANGER = Signer("ES256", "es")


def jwt_settings(**more: Any) -> JwtSettings:
    given = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_roles": ROLES, **more}
    return JwtSettings(**given)


class Judge:
    """A gate that takes JWTs, and what it has told of."""

    def __init__(self, *signers: Signer, are_wanted: bool = False, **more: Any) -> None:
        self.refused: list[Refusal] = []
        self.asked = 0
        self.are_wanted = are_wanted
        self.ahead_s = 0.0
        self.verifier = JwtVerifier(jwt_settings(**more), self._wanted, wall_s=self._wall_s)
        if signers:
            self.verifier.keys = parse(key_set(*signers))
        self.gate = Gate({digest_of("of.the.file"): FILED}, self.refused.append, wall_s=self._wall_s)
        self.gate.jwt = self.verifier

    def _wanted(self) -> bool:
        self.asked += 1
        return self.are_wanted

    def _wall_s(self) -> float:
        return time.time() + self.ahead_s

    def principal(self, token: str, host: str = "192.0.2.1") -> Principal:
        return self.gate.principal_of(f"Bearer {token}", host)

    def refusal(self, token: str) -> str:
        """For what; the reason is in `refused`. From an address that has not guessed yet."""
        with pytest.raises(Unauthenticated) as error:
            self.principal(token, f"10.0.0.{len(self.refused)}")
        assert error.value.is_invalid
        return error.value.reason


FILED = Principal(name="filed", roles=frozenset({Role.CLIENT}))


# -- what is taken


@pytest.mark.parametrize("signer", [ES, RS, ED], ids=lambda signer: signer.algorithm)
def test_a_good_one_of_each_algorithm_is_taken(signer: Signer) -> None:
    judge = Judge(ES, RS, ED)
    expires_s = int(time.time()) + 600
    assert judge.principal(signer.token(exp=expires_s, roles=["worker"])) == Principal(
        name="jwt:ada", roles=frozenset({Role.WORKER}), expires_at_s=expires_s + 30.0
    )
    assert judge.refused == []


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["other", AUDIENCE]},
        {"iat": None},
        {"nbf": int(time.time()) - 5},
        {"exp": int(time.time()) + 3600.5},
        {"other": {"deep": [1, 2]}},
    ],
)
def test_claims_that_are_taken(changed: dict[str, Any]) -> None:
    assert Judge(ES).principal(ES.token(**changed)).name == "jwt:ada"


@pytest.mark.parametrize(
    "header", [{"typ": None}, {"typ": "at+jwt"}, {"typ": "application/AT+JWT"}, {"x5t": "abc", "nonce": "n"}]
)
def test_headers_that_are_taken(header: dict[str, Any]) -> None:
    assert Judge(ES).principal(ES.token(header)).name == "jwt:ada"


def test_one_without_kid_is_taken_while_one_key_alone_fits() -> None:
    nameless = Signer("ES256", None)
    assert Judge(nameless, RS).principal(nameless.token()).name == "jwt:ada"
    assert Judge(ES, RS).principal(ES.token({"kid": None})).name == "jwt:ada"
    assert "has no kid" in Judge(ES, Signer("ES256", "other")).refusal(ES.token({"kid": None}))


def test_tokens_of_the_file_are_known_beside() -> None:
    judge = Judge(ES)
    judge.gate.tokens = {digest_of("wdl_x"): FILED, digest_of("with.two.dots"): FILED}
    assert judge.principal("wdl_x") is FILED
    # Two dots make a JWT where there is an issuer,
    assert judge.refusal("with.two.dots")
    assert "or a JWT of the issuer" in judge.refusal("wdl_y")
    # and nothing where there is none.
    judge.gate.jwt = None
    assert judge.principal("with.two.dots") is FILED


# -- attacks on the signature


def hmac_with(secret: bytes, **header: Any) -> str:
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rs", **header}).encode())
    body = f"{head}.{encoded(json.dumps(claims()).encode())}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    # The library itself refuses a PEM as secret, an attacker's does not.
    return f"{body}.{encoded(algorithm.sign(body.encode(), secret))}"


PEM = RS.private.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
UNSIGNED = ".".join((encoded(b'{"alg":"none"}'), encoded(json.dumps(claims()).encode()), ""))
GOOD = ES.token()
HEAD, BODY, SIGNATURE = GOOD.split(".")


FORGED = [
    (UNSIGNED, "not three parts"),
    (UNSIGNED + "x", "alg is none of"),
    (ES.token({"alg": "none"}), "alg is none of"),
    (ES.token({"alg": "NONE"}), "alg is none of"),
    (hmac_with(PEM), "alg is none of"),
    (hmac_with(b"x" * 32), "alg is none of"),
    (RS.token({"alg": "PS256"}), "alg is none of"),
    (RS.token({"alg": "RS512"}), "alg is none of"),
    (ES.token({"alg": None}), "alg is none of"),
    (ES.token({"alg": ["ES256"]}), "alg is none of"),
    (ES.token({"alg": "RS256"}), "name no key"),
    (RS.token({"alg": "ES256", "kid": "es"}), "signature is not"),
    (ED.token({"alg": "RS256", "kid": "rs"}), "signature is not"),
    (STRANGER.token(), "signature is not"),
    (ES.token({"kid": "nobody"}), "name no key"),
    (ES.token({"kid": 7}), "kid is no text"),
    (ES.token({"kid": "../../dev/null"}), "name no key"),
    (ES.token({"crit": ["exp"]}), "has crit"),
    (ES.token({"crit": []}), "has crit"),
    (ES.token({"b64": True}), "has b64"),
    (ES.token({"jku": "https://evil.example/keys"}), "has jku"),
    (ES.token({"x5u": "https://evil.example/cert"}), "has x5u"),
    (ES.token({"x5c": ["MII"]}), "has x5c"),
    (STRANGER.token({"jwk": STRANGER.public()}), "has jwk"),
    (ES.token({"zip": "DEF"}), "has zip"),
    (ES.token({"typ": "logout+jwt"}), "typ is neither"),
    (ES.token({"typ": 5}), "typ is neither"),
    (f"{HEAD}.{encoded(json.dumps(claims(sub='eve')).encode())}.{SIGNATURE}", "signature is not"),
    (f"{HEAD}.{BODY}.{SIGNATURE[:-2]}", "signature is not"),
    (f"{HEAD}.{BODY}.{encoded(bytes(64))}", "signature is not"),
    (f"{HEAD}.{BODY}.{encoded(bytes(5000))}", "signature is not"),
    (f"{HEAD}.{BODY}.{SIGNATURE}==", "not three parts"),
    (f"{HEAD}.{BODY}.", "not three parts"),
    ("..", "not three parts"),
    (f"{HEAD}.{BODY}.{SIGNATURE}\u00e9", "not three parts"),
    (f"{encoded(b'[]')}.{BODY}.{SIGNATURE}", "header is no object"),
    (f"{encoded(b'{')}.{BODY}.{SIGNATURE}", "header is not JSON"),
    (f"{encoded(b'[' * 9000)}.{BODY}.{SIGNATURE}", "header is not JSON"),
    (f"{encoded(bytes([255, 254]))}.{BODY}.{SIGNATURE}", "header is not JSON"),
    (f"A.{BODY}.{SIGNATURE}", "header is not JSON"),
    (f"{HEAD}.{'A' * JWT_CHARS_MAX}.{SIGNATURE}", "more than 16384 characters"),
    (ES.signed('{"iss": ' + "[" * 4000), "claims are not JSON"),
    (ES.signed("\ufeff" + json.dumps(claims())), "claims are not JSON"),
    (ES.signed("[]"), "claims are no object"),
    (ES.signed('"ada"'), "claims are no object"),
    (ES.signed(json.dumps(claims())[:-1] + ', "sub": "eve"}'), "there twice"),
    (ES.signed(json.dumps(claims())[:-1] + ', "a": {"b": 1, "b": 2}}'), "there twice"),
]


# Ids without the tokens, which differ from process to process.
@pytest.mark.parametrize(("token", "reason"), FORGED, ids=range(len(FORGED)))
def test_a_forged_one_is_refused(token: str, reason: str) -> None:
    judge = Judge(ES, RS, ED)
    assert reason in judge.refusal(token)
    assert judge.refused == [Refusal.INVALID]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://evil.example"}, "iss is not"),
        ({"iss": ISSUER + "/"}, "iss is not"),
        ({"iss": [ISSUER]}, "iss is not"),
        ({"iss": None}, "iss is not"),
        ({"aud": "other"}, "aud does not name"),
        ({"aud": AUDIENCE + "2"}, "aud does not name"),
        ({"aud": []}, "aud does not name"),
        ({"aud": {AUDIENCE: 1}}, "aud does not name"),
        ({"aud": None}, "aud does not name"),
        ({"exp": None}, "no claim exp"),
        ({"exp": "2099-01-01"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"exp": float("nan")}, "exp is no time"),
        ({"exp": 10**400}, "exp is no time"),
        ({"nbf": int(time.time()) + 86_400}, "nbf is in the future"),
        ({"iat": int(time.time()) + 86_400}, "iat is in the future"),
        ({"nbf": "now"}, "nbf is no time"),
        ({"sub": None}, "sub is not 1 to 255"),
        ({"sub": 7}, "sub is not 1 to 255"),
        ({"sub": ""}, "sub is not 1 to 255"),
        ({"sub": "a b"}, "sub is not 1 to 255"),
        ({"sub": "x" * 256}, "sub is not 1 to 255"),
        ({"sub": "a\nb"}, "sub is not 1 to 255"),
        ({"roles": 7}, "roles is neither"),
        ({"roles": {"admin": True}}, "roles is neither"),
        ({"roles": ["admin", 7]}, "roles is neither"),
    ],
)
def test_claims_that_are_refused(changed: dict[str, Any], reason: str) -> None:
    judge = Judge(ES)
    assert reason in judge.refusal(ES.token(**changed))
    assert judge.refused == [Refusal.INVALID]


def test_clocks_may_differ_by_the_leeway() -> None:
    now_s = int(time.time())
    judge = Judge(ES, jwt_leeway_s=30.0)
    moved: Sequence[dict[str, Any]] = ({"exp": now_s - 20}, {"nbf": now_s + 20}, {"iat": now_s + 20})
    for changed in moved:
        assert judge.principal(ES.token(**changed)).name == "jwt:ada"
    assert "have expired" in judge.refusal(ES.token(exp=now_s - 40))
    assert judge.refused == [Refusal.EXPIRED]
    assert "nbf is in the future" in judge.refusal(ES.token(nbf=now_s + 40))
    strict = Judge(ES, jwt_leeway_s=0.0)
    assert "have expired" in strict.refusal(ES.token(exp=now_s - 2))


def test_one_that_was_taken_ends_when_it_expires() -> None:
    judge, token = Judge(ES), ES.token(exp=int(time.time()) + 100)
    judge.principal(token)
    judge.ahead_s = 129.0
    judge.principal(token)
    judge.ahead_s = 131.0
    assert "of 'jwt:ada' have expired" in judge.refusal(token)


# -- whom it stands for


@pytest.mark.parametrize(
    ("changed", "settings", "roles"),
    [
        ({"roles": ["worker", "no-such"]}, {}, {Role.WORKER}),
        ({"roles": "openid worker client"}, {}, {Role.WORKER, Role.CLIENT}),
        ({"roles": "openid\u00a0worker openid\u2003client openid\x1fadmin"}, {}, set()),
        ({"roles": ["both"]}, {}, {Role.WORKER, Role.CLIENT}),
        ({"roles": None}, {}, set()),
        ({"roles": []}, {}, set()),
        ({"roles": ["ADMIN"]}, {}, set()),
        ({"roles": ["administrator"]}, {}, set()),
        ({"realm_access": {"roles": ["worker"]}}, {"jwt_roles_claim": "realm_access.roles"}, {Role.WORKER}),
        ({"realm_access": ["worker"]}, {"jwt_roles_claim": "realm_access.roles"}, set()),
        (
            {"https://x.example/roles": ["worker"]},
            {"jwt_roles_claim": "https://x.example/roles"},
            {Role.WORKER},
        ),
        ({"groups": ["cn=ops,dc=x"]}, {"jwt_roles_claim": "groups", "jwt_roles": "cn=ops=operator"}, set()),
        (
            {"groups": ["cn=ops"]},
            {"jwt_roles_claim": "groups", "jwt_roles": "cn=ops=operator"},
            {Role.OPERATOR},
        ),
    ],
)
def test_roles_come_from_a_claim(changed: dict[str, Any], settings: dict[str, Any], roles: set[Role]) -> None:
    assert Judge(ES, **settings).principal(ES.token(**changed)).roles == roles


def test_without_a_role_every_call_is_refused_by_name() -> None:
    judge = Judge(ES)
    principal = judge.principal(ES.token(roles=["no-such"]))
    for call in CALLS:
        if call.roles is not None:
            with pytest.raises(
                Forbidden, match=f"'jwt:ada' has no role here, which may not {re.escape(call.action)}"
            ):
                judge.gate.require_role(principal, call)


def test_two_roles_may_what_each_may() -> None:
    judge = Judge(ES)
    principal = judge.principal(ES.token(roles=["both"]))
    may = {call.action for call in CALLS if call.roles and call.roles & {Role.CLIENT, Role.WORKER}}
    for call in CALLS:
        if call.roles is None or call.action in may:
            judge.gate.require_role(principal, call)
        else:
            with pytest.raises(Forbidden, match="has the role client, worker, which may not"):
                judge.gate.require_role(principal, call)


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, (frozenset(), frozenset())),
        ({"jt": "a b", "defs": ["d"]}, (frozenset({"a", "b"}), frozenset({"d"}))),
        ({"jt": ["*"], "defs": "*"}, (None, None)),
        ({"roles": ["admin"]}, (None, None)),
    ],
)
def test_limits_come_from_claims(given: dict[str, Any], limits: tuple[Any, Any]) -> None:
    judge = Judge(ES, jwt_job_types_claim="jt", jwt_definitions_claim="defs")
    principal = judge.principal(ES.token(**{"roles": ["both"], **given}))
    assert (principal.job_types, principal.definitions) == limits


def test_the_name_comes_from_a_claim_and_is_never_one_of_the_file() -> None:
    judge = Judge(ES, jwt_name_claim="who.mail")
    assert judge.principal(ES.token(who={"mail": "engine"})).name == "jwt:engine"


def test_a_claim_s_own_name_goes_before_a_path() -> None:
    assert claim_at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert claim_at({"a": {"b.c": 1}}, "a.b.c") == 1
    assert claim_at({"a": {"b": {"c": 1}}}, "a.b.c") == 1
    assert claim_at({"a": 1}, "a.b") is None
    assert claim_at({"a.b": {"c": 1}}, "a.b.c") == 1


# -- what it costs


def test_a_signature_is_computed_once_and_again_when_the_keys_change(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    verified = key_sets.Key.verified

    def counted(self: key_sets.Key, token: str) -> bytes:
        computed.append(token)
        return verified(self, token)

    monkeypatch.setattr(key_sets.Key, "verified", counted)
    judge, token = Judge(ES), ES.token()
    for _ in range(5):
        judge.principal(token)
    assert len(computed) == 1
    old = ES.token(exp=int(time.time()) - 1000)
    for _ in range(5):
        judge.refusal(old)
    assert len(computed) == 2
    judge.verifier.keys = parse(key_set(RS))
    assert "name no key" in judge.refusal(token)


def test_the_memory_of_good_ones_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_verifier, "VERIFIED_MAX", 10)
    judge = Judge(ED)
    for number in range(30):
        judge.principal(ED.token(jti=str(number)))
    assert len(judge.verifier._verified) == 10


def test_forged_ones_are_slowed_as_guesses_are() -> None:
    judge = Judge(ES)
    for number in range(GUESSES_AT_ONCE):
        with pytest.raises(Unauthenticated):
            judge.principal(STRANGER.token(jti=str(number)))
    with pytest.raises(TooManyAttempts):
        judge.principal(ES.token())
    assert judge.principal(ES.token(), "192.0.2.2").name == "jwt:ada"


def test_while_there_are_no_keys_or_more_may_come_the_caller_is_asked_to_come_back() -> None:
    none = Judge()
    with pytest.raises(Unavailable, match="keys are being fetched"):
        none.principal(ES.token())
    assert none.refused == [Refusal.KEYS]
    # What no key could make good is refused at once.
    assert "alg is none of" in none.refusal(UNSIGNED + "x")
    coming = Judge(RS, are_wanted=True)
    with pytest.raises(Unavailable):
        coming.principal(ES.token())
    assert coming.asked == 1
    coming.principal(RS.token())
    assert coming.asked == 1


# -- the set of keys


def written(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


BROKEN_SETS = [
    (b"", "not JSON"),
    (b"\xff", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "no JWK Set"),
    (b'{"keys": {}}', "no JWK Set"),
    (b'{"keys": []}', "no key for signatures by RS256, ES256 or EdDSA"),
    (b'{"keys": [7]}', "key 1 of it is no object"),
    (written({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), "no key for signatures"),
    (written({"kty": ["RSA"]}), "no key for signatures"),
    (written(ES.public(use="enc")), "no key for signatures"),
    (written(RS.public(alg="RS512")), "no key for signatures"),
    (written(RS.public(key_ops=["encrypt"])), "no key for signatures"),
    (written(ES.public(x="AAAA")), "key 1 of it is damaged"),
    (written({**ES.public(), "y": 7}), "key 1 of it is damaged"),
    (written({"kty": "RSA", "kid": "x"}), "key 1 of it is damaged"),
    (written(ES.public(d="AAAA")), "key 1 of it is a private key"),
    (written(ES.public(kid=7)), "kid that is no text"),
    (written(RS.public(), ES.public(), STRANGER.public()), "key 3 of it has the kid of another key"),
    (written(*[{"kty": "oct"}] * 101), "101 keys"),
    (key_set(Signer("RS256", "short", rsa_bits=1024)), "has 1024 bits"),
]


@pytest.mark.parametrize(("document", "problem"), BROKEN_SETS, ids=range(len(BROKEN_SETS)))
def test_a_set_that_cannot_be_used_is_refused(document: bytes, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        parse(document)


def test_keys_for_other_uses_are_left_out() -> None:
    found = parse(
        written({"kty": "oct", "k": "x"}, RS.public(use="enc", kid="e"), RS.public(alg="RS256"), ES.public())
    )
    assert len(found) == 2
    assert found.find("rs", "RS256") is not None
    assert found.find("rs", "ES256") is None
    assert found.find("e", "RS256") is None


@pytest.mark.parametrize(
    "token", [ES.token({"alg": "HS256"}), STRANGER.token(), ES.token(iss="x")], ids=["alg", "key", "iss"]
)
def test_no_reason_holds_a_part_of_the_token(token: str) -> None:
    with pytest.raises(NotRecognized) as error:
        Judge(ES).verifier.principal_of(token, digest_of(token))
    assert not any(part in error.value.reason for part in token.split("."))
