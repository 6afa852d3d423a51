"""From method and path to a route: literal segments first, `{ids}` percent-decoded on every route (contract 1.1)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from windlass.api.call import TEXT, Request, Response
from windlass.auth import calls
from windlass.errors import BadRequest
from windlass.telemetry.metrics import Observer

Outcome = Response | Coroutine[Any, Any, Response]
Endpoint = Callable[[Request, list[str]], Outcome]

UNMATCHED = "unmatched"


class Route:
    """`pattern` names it in logs and metrics, `call` says who may call it; `quiet` keeps its successes out of the
    access log. `waits`: its calls may wait, and can be ended early. Calls of one that `is_shed` are refused while the
    node has too much to do.
    """

    __slots__ = ("call", "endpoint", "is_shed", "observers", "pattern", "quiet", "waits")

    def __init__(
        self,
        pattern: str,
        endpoint: Endpoint,
        *,
        call: calls.Call = calls.UNKNOWN,
        quiet: bool = False,
        waits: bool = False,
        is_shed: bool = False,
    ) -> None:
        self.call = call
        self.pattern = pattern
        self.endpoint = endpoint
        self.quiet = quiet
        self.waits = waits
        self.is_shed = is_shed
        #: (method, status) -> the function that observes its durations
        self.observers: dict[tuple[str, int], Observer] = {}


class _Node:
    __slots__ = ("any", "literals", "routes")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.routes: dict[str, Route] = {}


class Router:
    def __init__(self) -> None:
        self._root = _Node()
        self.unmatched = Route(UNMATCHED, _not_found)
        self._wrong_verbs: dict[int, Route] = {}

    def add(
        self,
        method: str,
        pattern: str,
        endpoint: Endpoint,
        *,
        quiet: bool = False,
        waits: bool = False,
        is_shed: bool = False,
    ) -> None:
        """Serves `pattern`, whose `{name}` segments become ids in order; a GET route serves HEAD too.

        LookupError unless `auth.calls` says which roles may call it.
        """
        call = calls.of_route(method, pattern)
        node = self._root
        for segment in pattern.split("/")[1:]:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literals.setdefault(segment.encode(), _Node())
        route = Route(pattern, endpoint, call=call, quiet=quiet, waits=waits, is_shed=is_shed)
        node.routes[method] = route
        if method == "GET":
            node.routes["HEAD"] = route
        self._wrong_verbs[id(node)] = Route(pattern, _wrong_verb(tuple(node.routes)))

    def find(self, request: Request) -> tuple[Route, list[str]]:
        """There is always a route: for an unknown path one that answers 404, for a wrong method 405."""
        node = self._root
        ids: list[str] = []
        for segment in request.path.split(b"/")[1:]:
            below = node.literals.get(segment)
            if below is None:
                below = node.any
                if below is None or not segment:
                    return self.unmatched, []
                ids.append(_decoded(segment))
            node = below
        route = node.routes.get(request.method)
        if route is None:
            return self._wrong_verbs.get(id(node), self.unmatched), []
        return route, ids


def _decoded(segment: bytes) -> str:
    raw = unquote_to_bytes(segment) if b"%" in segment else segment
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"the path segment {segment.decode('latin-1')!r} is not valid UTF-8") from None
    if "\x00" in text:
        raise BadRequest(f"the path segment {segment.decode('latin-1')!r} contains the character U+0000")
    return text


def _not_found(request: Request, ids: list[str]) -> Response:  # noqa: ARG001 - a route's signature
    return Response(404, b"404 page not found\n", TEXT)


def _wrong_verb(methods: tuple[str, ...]) -> Endpoint:
    allow = f"Allow: {', '.join(methods)}\r\n".encode()

    def answer(request: Request, ids: list[str]) -> Response:  # noqa: ARG001 - a route's signature
        return Response(405, headers=allow)

    return answer
