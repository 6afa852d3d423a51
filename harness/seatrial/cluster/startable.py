"""What is started and closed, such as a server: with `async with` it is closed whatever happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Startable(ABC):
    @abstractmethod
    async def start(self) -> None:
        """Returns when it can be used."""

    @abstractmethod
    async def close(self) -> None:
        """Nothing of it is left afterwards; safe to call twice, and after a start that failed half-way."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
