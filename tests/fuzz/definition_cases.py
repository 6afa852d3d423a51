"""Cases for definitions: documents of the grammar of contract 3, right and nearly right, and broken texts of them."""

from __future__ import annotations

import broken_json
import expression_cases
from broken_json import Json, Text
from case import Case
from hypothesis import strategies as st

TYPES = (
    "SERVICE_TASK",
    "USER_TASK",
    "DECISION",
    "TRANSFORMATION",
    "WAIT",
    "PARALLEL_GATEWAY",
    "JOIN_GATEWAY",
    "END",
)
DURATIONS = (
    "PT1H", "P7D", "P2W", "PT0.5S", "PT1,5H", "P1DT2H3M4S", "P36600D", "PT0S", "P1Y", "P1M", "PT", "P", "", "1H",
    "PT-1S", "P1D2H", "PT1H1D", "P99999999999999D", "PT" + "9" * 400 + "S", "PT0.0000001S", "PT1e3S", "pt1h", " PT1H",
    "PT1H\n", "PT\u0661S", "P" + "1D" * 1_000,
)  # fmt: skip
IDS = ("a", "b", "c", "d", "e", "end", "A-1", "x y", "\u00e9", "a::b", "", "s" * 3_000, "\u202e", "step[0]")
WORDS = ("a", "name", "", " ", "n" * 3_000, "\U0001f600", "line\nbreak", "%s", "{0}")


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """A definition of a few steps that refer to each other; every other one keeps to the rules of contract 3.5."""
    wild = draw(st.booleans())
    ids = draw(st.lists(broken_json.pick(IDS[:6]), min_size=1, max_size=5, unique=True))
    steps = [draw(_steps(ids, at, wild=wild)) for at in range(len(ids))]
    steps.append({"id": "last", "name": "last", "type": "END"})
    if wild and draw(st.booleans()):
        steps.append(draw(_steps([*ids, draw(broken_json.pick(IDS))], len(ids), wild=True)))
    found = {"id": f"fuzz-{draw(st.integers(0, 40))}", "name": "a", "steps": steps}
    optional: dict[str, st.SearchStrategy[Json]] = {
        "version": st.integers(-5, 5),
        "description": broken_json.pick(WORDS),
        "metadata": st.dictionaries(st.text(max_size=5), broken_json.odd_values, max_size=3),
        "nextWorkflowId": broken_json.pick((*IDS, "fuzz-1")),
    }
    if wild:
        optional |= {"name": broken_json.pick(WORDS), "autoStartNextWorkflow": st.booleans()}
    return found | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def _steps(draw: st.DrawFn, ids: list[str], at: int, *, wild: bool) -> Json:
    """One that leads on to the next, so that most documents can be reached through."""
    following = ids[at + 1] if at + 1 < len(ids) else "last"
    anywhere = st.sampled_from((*ids, "last"))
    type_ = draw(
        st.sampled_from((*TYPES[:5], "DECISION", "TRANSFORMATION", "PARALLEL_GATEWAY" if wild else "WAIT"))
    )
    step: dict[str, Json] = {"id": ids[at], "name": "a", "type": type_}
    if type_ == "DECISION":
        step["conditionalNextSteps"] = {draw(expression_cases.texts): draw(anywhere), "true": following}
    elif type_ == "PARALLEL_GATEWAY":
        step |= {"parallelNextSteps": [following, draw(anywhere)], "joinStep": draw(anywhere)}
    else:
        step["nextStep"] = following
    if type_ == "SERVICE_TASK":
        odd = ("", "w" * 3_000, "\u00e9" * 1_025) if wild else ("w" * 2_000, "\u202e")
        step["jobType"] = draw(broken_json.pick(("fuzz-other.work", "\u00e9", *odd)))
        step["retryCount"] = draw(st.sampled_from((0, 3, 2**31 - 1, *((-1, 2**31, 10**40) if wild else ()))))
    if type_ == "TRANSFORMATION":
        values = expression_cases.texts.map(lambda text: "${" + text + "}") | broken_json.odd_values
        step["transformations"] = {draw(broken_json.pick(("x", "y", "", "a.b", "n" * 500))): draw(values)}
    if draw(st.integers(0, 3)) == 0:
        event = {
            "type": "TIMER",
            "duration": "PT1H",
            "interrupting": draw(st.booleans()),
            "targetStepId": draw(anywhere),
        }
        if wild:
            event |= {
                "type": draw(st.sampled_from(("TIMER", "timer"))),
                "duration": draw(broken_json.pick(DURATIONS)),
            }
        step["boundaryEvents"] = [event]
    return step


@st.composite
def _large(draw: st.DrawFn) -> Text:
    """Documents that are long in one direction."""
    count = draw(st.sampled_from((100, 1_001, 4_000)))
    end = {"id": "end", "name": "e", "type": "END"}
    waits = [{"id": f"s{n}", "name": "s", "type": "WAIT", "nextStep": f"s{n + 1}"} for n in range(count)]
    kind, steps = draw(
        broken_json.pick(
            (
                ("many steps", [*waits, {**end, "id": f"s{count}"}]),
                ("many faults", [{"id": "", "name": "", "type": "?"}] * count),
                ("many unknown fields", [{**end, **{f"f{n}": n for n in range(count)}}]),
                ("one id for all", [end] * count),
                ("many branches", [{"id": "d", "name": "d", "type": "DECISION",
                                    "conditionalNextSteps": {f"x == {n}": "end" for n in range(count)}}, end]),
                ("many timers", [{"id": "u", "name": "u", "type": "USER_TASK", "nextStep": "end", "boundaryEvents":
                                  [{"type": "TIMER", "duration": "PT1H", "targetStepId": "end"}] * count}, end]),
                ("a loop without work", [{"id": "t", "name": "t", "type": "TRANSFORMATION", "nextStep": "d",
                                          "transformations": {"x": "${[1]}"}},
                                         {"id": "d", "name": "d", "type": "DECISION",
                                          "conditionalNextSteps": {"len(x) == 1": "t", "true": "end"}}, end]),
                ("forks in forks", [{"id": f"p{n}", "name": "p", "type": "PARALLEL_GATEWAY", "joinStep": "j",
                                     "parallelNextSteps": [f"p{n + 1}"] * 2} for n in range(12)]
                 + [{"id": "p12", "name": "w", "type": "WAIT", "nextStep": "j"},
                    {"id": "j", "name": "j", "type": "JOIN_GATEWAY", "nextStep": "end"}, end]),
            )
        )
    )  # fmt: skip
    return Text(
        kind, broken_json.encoded({"id": "fuzz-large", "name": "l", "steps": steps}), is_no_json=False
    )


cases: st.SearchStrategy[Case] = broken_json.weighted({_large(): 1, broken_json.texts(documents()): 49}).map(
    lambda text: Case("definition", text.kind, text.data, must_refuse=text.is_no_json)
)
