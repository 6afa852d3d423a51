"""The memory budget gives to everybody, whatever others have."""

from __future__ import annotations

import asyncio

import mutation

from windlass.memory import Budget, Use


def draw(_self: Budget, _use: Use, _count: int) -> bool:
    return True


def give_back(_self: Budget, _use: Use, _count: int) -> None:
    """Nothing was drawn."""


def ask(_self: Budget, _use: Use, _count: int) -> asyncio.Future[None]:
    asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asked.set_result(None)
    return asked


Budget.draw = draw  # type: ignore[method-assign,assignment]
Budget.give_back = give_back  # type: ignore[method-assign,assignment]
Budget.ask = ask  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    mutation.serve()
