"""Grammar of the expression language (contract 4.1, 4.2): text -> one closure and the free names it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from windlass.definition import operators
from windlass.definition.operators import ExpressionError

NESTING_MAX = 100

_SHOWN_CHARS_MAX = 80
_TOKEN = re.compile(
    r"""[ \t\r\n]+
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |\#?(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<text>'[^']*'|"(?:[^"\\]|\\.)*")
    |(?P<mark>\$\{|\?\?|\?\.(?![0-9])|&&|\|\||==|!=|<=|>=|[-+*/!<>()\[\],.?:}])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'", "/": "/"}
_LITERALS = {"true": True, "false": False, "nil": None, "null": None}
_SYNONYMS = {"or": "||", "and": "&&", "not": "!"}
_RESERVED = frozenset({"or", "and", "not", "in"})
_OPENING = {"(": ")", "[": "]", "${": "}"}
_ORDERINGS = frozenset({"<", "<=", ">", ">="})
#: Binary operators by how tightly they bind; one level is read left to right (contract 4.2).
_LEVELS = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "in", "not in", *_ORDERINGS), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/"), 5),
    "??": 6,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "contains": (2, operators.contains),
    "len": (1, operators.length),
}


class Environment(dict[str, Any]):
    """The variables an expression reads, and what it may still compute."""

    __slots__ = ("work",)

    def __init__(self, work: operators.Work) -> None:
        super().__init__()
        self.work = work


Node = Callable[[Environment], Any]
Operand = tuple[str, Node]
#: (value so far, environment) -> the next value of a path
Step = Callable[[Any, Environment], Any]


def parse(text: str) -> tuple[Node, tuple[str, ...]]:
    """Return the closure that computes the text, and its free names in source order; or ExpressionError."""
    parser = _Parser(text)
    try:
        root = parser.whole()
    except RecursionError:
        raise ExpressionError(f"the expression is nested deeper than {NESTING_MAX} levels") from None
    return root, tuple(parser.names)


class _Token(NamedTuple):
    kind: str  # number, text, word, mark, end
    value: str
    position: int


def _tokens(text: str) -> list[_Token]:
    found = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse_character(text, position)
        if match.lastgroup is not None:
            found.append(_Token(match.lastgroup, match[match.lastgroup], position))
        position = match.end()
    found.append(_Token("end", "", position))
    return found


def _refuse_character(text: str, position: int) -> NoReturn:
    character = text[position]
    if character in "'\"":
        raise ExpressionError(f"unterminated string that starts at character {position + 1}")
    hint = {"=": "; write == to compare", "&": "; write &&", "|": "; write ||", "$": "; write ${…}"}
    raise ExpressionError(f'unexpected "{character}" at character {position + 1}{hint.get(character, "")}')


class _Parser:
    """Precedence climbing over the tokens, yielding closures. Chains are loops: only nesting costs stack."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.index = 0
        self.depth = 0
        #: free names in source order; a dict for its order
        self.names: dict[str, None] = {}

    def whole(self) -> Node:
        node = self.expression()
        if self.token.kind != "end":
            self.refuse("the end")
        return node

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def accept(self, mark: str) -> bool:
        if self.token.kind == "mark" and self.token.value == mark:
            self.index += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            self.refuse(f'"{mark}"')

    def refuse(self, wanted: str) -> NoReturn:
        token = self.token
        if token.kind == "end":
            raise ExpressionError(f"unexpected end, expected {wanted}")
        raise ExpressionError(
            f"unexpected {_quoted(token.value)} at character {token.position + 1}, expected {wanted}"
        )

    def expression(self) -> Node:
        self.enter()
        node = self.binary(1)
        if self.accept("?"):
            then = self.expression()
            self.expect(":")
            node = _conditional(node, then, self.expression())
        self.depth -= 1
        return node

    def enter(self) -> None:
        self.depth += 1
        if self.depth > NESTING_MAX + 1:
            raise ExpressionError(f"the expression is nested deeper than {NESTING_MAX} levels")

    def binary(self, floor: int) -> Node:
        """Everything that binds at `floor` or tighter."""
        node = self.operand()
        while (symbol := self.operator()) and (level := _LEVELS[symbol]) >= floor:
            operands: list[Operand] = []
            while (symbol := self.operator()) and _LEVELS[symbol] == level:
                self.index += 2 if symbol == "not in" else 1
                self.enter()
                operands.append((symbol, self.binary(level + 1)))
                self.depth -= 1
            node = _chain(level, node, operands)
        return node

    def operator(self) -> str:
        """Tell the binary operator that comes next, empty when none does."""
        kind, value, _ = self.token
        if kind == "mark":
            return value if value in _LEVELS else ""
        if kind != "word":
            return ""
        if value == "not":
            following = self.tokens[self.index + 1]
            return "not in" if following.kind == "word" and following.value == "in" else ""
        return "in" if value == "in" else _SYNONYMS.get(value, "")

    def operand(self) -> Node:
        """Prefix signs, a primary, and the path behind it."""
        symbols = []
        while (symbol := _SYNONYMS.get(self.token.value, self.token.value)) in {"!", "-", "+"}:
            symbols.append(symbol)
            self.index += 1
        node = self.primary()
        steps: list[Step] = []
        while True:
            if self.accept("."):
                steps.append(_field_step(self.property_name(), optional=False))
            elif self.accept("?."):
                steps.append(_field_step(self.property_name(), optional=True))
            elif self.accept("["):
                steps.append(_item_step(self.expression()))
                self.expect("]")
            else:
                break
        node = _path(node, steps) if steps else node
        return _signed(symbols[::-1], node) if symbols else node

    def property_name(self) -> str:
        kind, value, _ = self.token
        if kind != "word":
            self.refuse("a field name")
        self.index += 1
        return value

    def primary(self) -> Node:
        kind, value, _ = self.token
        if kind == "end" or value in _RESERVED or (kind == "mark" and value not in _OPENING):
            self.refuse("a value")
        self.index += 1
        if kind == "number":
            return _constant(_number(value))
        if kind == "text":
            return _constant(_string(value))
        if kind == "word":
            return self.word(value)
        if value == "[":
            return _array(self.arguments("]"))
        node = self.expression()
        if value == "${" and self.token.kind == "end":
            raise ExpressionError("unterminated ${: the closing } is missing")
        self.expect(_OPENING[value])
        return node

    def arguments(self, closing: str) -> list[Node]:
        if self.accept(closing):
            return []
        nodes = [self.expression()]
        while self.accept(","):
            nodes.append(self.expression())
        self.expect(closing)
        return nodes

    def word(self, word: str) -> Node:
        if word in _LITERALS:
            return _constant(_LITERALS[word])
        if not self.accept("("):
            self.names[word] = None
            return lambda environment: environment[word]
        if word not in _FUNCTIONS:
            known = " and ".join(_FUNCTIONS)
            raise ExpressionError(f"unknown function {_quoted(word)}; the functions are {known}")
        arity, function = _FUNCTIONS[word]
        nodes = self.arguments(")")
        if len(nodes) != arity:
            raise ExpressionError(f"{word} takes {arity} argument(s), got {len(nodes)}")
        return lambda environment: function(*[node(environment) for node in nodes], environment.work)


def _number(text: str) -> int | float:
    if text.isdecimal() and len(text) <= operators.INTEGER_DIGITS_MAX:
        return int(text)
    try:
        return operators.whole(float(text))
    except ExpressionError:
        raise ExpressionError(f"the number {_quoted(text)} is outside the range of a number") from None


def _string(quoted: str) -> str:
    """Text in single quotes is taken literally; double quotes have JSON's escapes."""
    text = quoted[1:-1] if quoted[0] == "'" else _ESCAPE.sub(_unescaped, quoted[1:-1])
    try:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ExpressionError("a string contains half a surrogate pair, which is not a character") from None
    if "\0" in text:
        raise ExpressionError("a string contains the character U+0000, which the database cannot store")
    return text


def _unescaped(found: re.Match[str]) -> str:
    digits, letter = found.groups()
    if digits:
        return chr(int(digits, 16))
    if letter not in _ESCAPED:
        raise ExpressionError(
            f'unknown escape "\\{letter}" in a string; use single quotes for a plain backslash'
        )
    return _ESCAPED[letter]


def _constant(value: Any) -> Node:
    return lambda _: value


def _array(nodes: Sequence[Node]) -> Node:
    return lambda environment: [node(environment) for node in nodes]


def _conditional(condition: Node, then: Node, otherwise: Node) -> Node:
    def run(environment: Environment) -> Any:
        taken = operators.require_boolean("?:", condition(environment))
        return then(environment) if taken else otherwise(environment)

    return run


def _signed(symbols: Sequence[str], node: Node) -> Node:
    def run(environment: Environment) -> Any:
        value = node(environment)
        for symbol in symbols:
            if symbol == "!":
                value = not operators.require_boolean("!", value)
            else:
                value = operators.negate(value) if symbol == "-" else operators.require_number("+", value)
        return value

    return run


def _field_step(name: str, *, optional: bool) -> Step:
    if optional:
        return lambda value, _: _NOTHING if value is None else operators.field(value, name)
    return lambda value, _: operators.field(value, name)


def _item_step(key: Node) -> Step:
    return lambda value, environment: operators.item(value, key(environment))


#: What `?.` on null yields within its path: the rest of the path is skipped and the whole is null.
_NOTHING = object()


def _path(node: Node, steps: Sequence[Step]) -> Node:
    def run(environment: Environment) -> Any:
        value = node(environment)
        for step in steps:
            value = step(value, environment)
            if value is _NOTHING:
                return None
        return value

    return run


def _chain(level: int, first: Node, operands: Sequence[Operand]) -> Node:
    """Operators of one level, evaluated from left to right."""
    if level in (_LEVELS["||"], _LEVELS["&&"]):
        return _logical(operands[0][0], first, [node for _, node in operands])
    if level == _LEVELS["=="]:
        return _relation(first, *operands[0]) if len(operands) == 1 else _relations(first, operands)
    if level == _LEVELS["??"]:
        return _coalesce(first, [node for _, node in operands])

    def run(environment: Environment) -> Any:
        value = first(environment)
        for symbol, node in operands:
            value = operators.arithmetic(symbol, value, node(environment), environment.work)
        return value

    return run


def _logical(symbol: str, first: Node, others: Sequence[Node]) -> Node:
    """Left operands must be boolean; the last one evaluated is the result, unchecked (contract 4.3)."""
    deciding = symbol == "||"

    def run(environment: Environment) -> Any:
        value = first(environment)
        for node in others:
            if operators.require_boolean(symbol, value) is deciding:
                return deciding
            value = node(environment)
        return value

    return run


def _coalesce(first: Node, others: Sequence[Node]) -> Node:
    def run(environment: Environment) -> Any:
        value = first(environment)
        for node in others:
            if value is not None:
                break
            value = node(environment)
        return value

    return run


def _relation(first: Node, symbol: str, second: Node) -> Node:
    return lambda environment: _related(symbol, first(environment), second(environment), environment.work)


def _relations(first: Node, operands: Sequence[Operand]) -> Node:
    """Left to right; an ordering right after an ordering means both: `1 < n < 3` (contract 4.2)."""

    def run(environment: Environment) -> Any:
        value = first(environment)
        last, previous = value, ""
        for symbol, node in operands:
            chained = symbol in _ORDERINGS and previous in _ORDERINGS
            previous = symbol
            if chained and not value:
                continue
            right = node(environment)
            value = _related(symbol, last if chained else value, right, environment.work)
            last = right
        return value

    return run


def _related(symbol: str, left: Any, right: Any, work: operators.Work) -> bool:
    if symbol == "==":
        return operators.equal(left, right, work)
    if symbol == "!=":
        return not operators.equal(left, right, work)
    if symbol == "in":
        return operators.contains(right, left, work)
    if symbol == "not in":
        return not operators.contains(right, left, work)
    return operators.compare(symbol, left, right, work)


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= _SHOWN_CHARS_MAX else f'"{text[:_SHOWN_CHARS_MAX]}…"'
