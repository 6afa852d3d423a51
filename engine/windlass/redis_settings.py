"""The variables of the wake bus redis, beside `config.py`, which reads them only when that bus is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from windlass.redis_address import MalformedRedisUrl, RedisAddress, redis_address
from windlass.secret_values import judge_authorities, judge_secret
from windlass.variable import Reader, Variable, declare, declared_by

REDIS_BUS = "WINDLASS_WAKE_BUS=redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    redis_url: str = declare(
        "WINDLASS_REDIS_URL",
        "where Redis or Valkey is: redis://host:6379, redis+sentinel://host-1:26379,host-2:26379/name-of-the-master or "
        "redis+cluster://host-1:6379,host-2:6379, each with user:password@ before the hosts if need be; rediss for TLS",
        required_when=REDIS_BUS,
        secret=True,
    )
    redis_password: str | None = declare(
        "WINDLASS_REDIS_PASSWORD", "password of Redis, if WINDLASS_REDIS_URL has none", secret=True
    )
    redis_tls_ca_path: str | None = declare(
        "WINDLASS_REDIS_TLS_CA_PATH", "PEM file of trusted CAs for rediss; unset = the system's"
    )

    @property
    def address(self) -> RedisAddress:
        """With the password, whichever variable holds it."""
        found = redis_address(self.redis_url)
        return dataclasses.replace(found, password=self.redis_password or found.password)


def read_redis(reader: Reader) -> RedisSettings:
    """What is wrong is recorded as a problem."""
    declared = declared_by(RedisSettings)
    values: dict[str, Any] = {field: reader.read(variable) for field, variable in declared.items()}
    password = values["redis_password"]
    judge_secret(reader, declared["redis_password"], password or "")
    if values["redis_tls_ca_path"] is not None:
        judge_authorities(reader, declared["redis_tls_ca_path"], values["redis_tls_ca_path"])
    if values["redis_url"] is not None:
        _judge_url(reader, declared, values)
    return RedisSettings(**values)


def warn_of_unused(reader: Reader, bus: str) -> None:
    for variable in declared_by(RedisSettings).values():
        if reader.find(variable) is not None:
            reader.warnings.append(
                f"{variable.name} is set, but WINDLASS_WAKE_BUS is {bus}, so it is not used"
            )


def _judge_url(reader: Reader, declared: Mapping[str, Variable], values: Mapping[str, Any]) -> None:
    url = declared["redis_url"]
    try:
        address = redis_address(values["redis_url"])
    except MalformedRedisUrl as err:
        reader.problem(url, err.fault, err.remedy)
        return
    password = values["redis_password"]
    if address.password and password:
        reader.problem(
            declared["redis_password"], f"is set, and {url.name} holds a password too", "keep one of them"
        )
    if address.user and not address.password and not password:
        # Not shown: a password is often written in its place.
        reader.problem(
            url,
            "names a user without a password",
            "a password alone has a colon before it, redis://:password@host; or set WINDLASS_REDIS_PASSWORD",
        )
    if values["redis_tls_ca_path"] is not None and not address.tls:
        reader.problem(
            declared["redis_tls_ca_path"],
            f"is set, but {url.name} does not ask for TLS",
            "begin it with rediss in place of redis, or unset this",
        )
