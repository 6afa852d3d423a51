"""Arrays as text: PostgreSQL reads back exactly what was meant, whatever a client put into it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import END, Running, service

from windlass.instance import decode_variables, encode_variables
from windlass.store.arrays import json_array, text_array

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
AWKWARD = ["", "NULL", "null", "{", '"', "\\", "a,b", " a ", "\n\t\r\x01", "ü\u2028", '\\"', "}{"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda v: st.lists(v) | st.dictionaries(TEXT, v),
    max_leaves=6,
)


async def back(one: Running, literal: str, kind: str) -> list[Any]:
    (row,) = await one.rows(f"SELECT $1::text::{kind}[] AS back", literal)
    return list(row["back"])


async def test_awkward_texts_come_back(one: Running) -> None:
    items = [*AWKWARD, None]
    assert await back(one, text_array(items), "text") == items
    assert await back(one, json_array([1, None, 3]), "integer") == [1, None, 3]
    assert await back(one, json_array([0.5, None, 1e300]), "float8") == [0.5, None, 1e300]
    assert await back(one, json_array([True, False]), "boolean") == [True, False]
    assert await back(one, json_array([]), "text") == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT | st.none(), max_size=6), st.lists(st.dictionaries(TEXT, VALUES), max_size=4))
async def test_any_texts_and_any_json_come_back(
    one: Running, texts: list[str | None], documents: list[dict[str, Any]]
) -> None:
    assert await back(one, text_array(texts), "text") == texts
    for indent in (None, 1):
        encoded = [
            encode_variables(decode_variables(json.dumps(document, indent=indent))).decode()
            for document in documents
        ]
        assert [json.loads(item) for item in await back(one, json_array(encoded), "text")] == documents


async def test_names_and_indented_variables_survive_a_whole_run(one: Running) -> None:
    step_id = 'a "quoted" \\ step, {with} \u00fcmlauts'
    await one.define(service(step_id, "end", jobType='odd "type", {x}'), END)
    body = msgspec.Raw(b'{\n\t"deep": {\r\n "list": [1,\n 2], "text": "line\\nbreak"}}')
    instance = await one.engine.start_instance(
        definition_id="d", version=None, variables=body, business_key='key, "with" {all} \\ of it'
    )
    assert instance.current_step_ids == (step_id,)
    (job,) = await one.poll('odd "type", {x}', worker='w"1", {}')
    assert (job.step_id, job.worker_id) == (step_id, 'w"1", {}')
    await one.complete(job, 'w"1", {}')
    assert await one.variables(instance.id) == {"deep": {"list": [1, 2], "text": "line\nbreak"}}
    assert (await one.engine.get_instance(instance.id)).business_key == 'key, "with" {all} \\ of it'
