"""Covering needs with offers: the maximum bipartite flow, for graphs of a few dozen nodes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence


def unmet(needs: Sequence[int], offers: Sequence[int], serves: Sequence[Collection[int]]) -> list[int]:
    """How much of each need stays unmet with the best assignment of the offers. `serves[o]`: the needs that offer o
    can
    meet, by index. By augmenting paths (Ford and Fulkerson).
    """
    spare = list(offers)
    moved: list[Counter[int]] = [Counter() for _ in offers]
    givers = [[offer for offer, served in enumerate(serves) if need in served] for need in range(len(needs))]
    lacking = []
    for need, amount in enumerate(needs):
        missing = amount
        while missing and (gained := _augment(need, missing, spare, moved, givers)):
            missing -= gained
        lacking.append(missing)
    return lacking


def _augment(
    need: int, missing: int, spare: list[int], moved: list[Counter[int]], givers: Sequence[Sequence[int]]
) -> int:
    """Moves as much as one path allows to `need`, taking from others what they can get elsewhere."""
    taker: dict[int, int] = {}
    replaced_by: dict[int, int] = {need: -1}
    queue = deque([need])
    while queue:
        wanting = queue.popleft()
        for offer in givers[wanting]:
            if offer in taker:
                continue
            taker[offer] = wanting
            if spare[offer]:
                return _apply(offer, missing, spare, moved, taker, replaced_by)
            for other, amount in moved[offer].items():
                if amount and other not in replaced_by:
                    replaced_by[other] = offer
                    queue.append(other)
    return 0


def _apply(
    offer: int,
    missing: int,
    spare: list[int],
    moved: list[Counter[int]],
    taker: dict[int, int],
    replaced_by: dict[int, int],
) -> int:
    path = [(offer, taker[offer])]
    while replaced_by[path[-1][1]] >= 0:
        yielding = replaced_by[path[-1][1]]
        path.append((yielding, taker[yielding]))
    amount = min(missing, spare[offer])
    for step, (yielding, _) in enumerate(path[1:]):
        amount = min(amount, moved[yielding][path[step][1]])
    spare[offer] -= amount
    for step, (giving, taking) in enumerate(path):
        moved[giving][taking] += amount
        if step:
            moved[giving][path[step - 1][1]] -= amount
    return amount
