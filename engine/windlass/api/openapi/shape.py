"""The shapes that the document's schemas are made of: JSON Schema with a description each."""

from __future__ import annotations

from typing import Any

from windlass.api import bounds, payload

Schema = dict[str, Any]

#: PostgreSQL cannot store U+0000, so a text that is stored or searched for must not contain it.
STORABLE = "^[^\\u0000]*$"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: Any) -> Schema:
    """A text that is stored or searched for."""
    return {"type": "string", "pattern": STORABLE, "description": description, **more}


def word(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def ulid(description: str) -> Schema:
    return word(description, examples=["01M80JEKVTANK3PECRC5S68X77"])


def integer(description: str, **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def time(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": description}


def or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def record(required: tuple[str, ...], properties: dict[str, Schema], **more: Any) -> Schema:
    made: Schema = {"type": "object", **more}
    if required:
        made["required"] = list(required)
    return {**made, "properties": properties}


def whole(properties: dict[str, Schema], **more: Any) -> Schema:
    """A record that has all of these fields."""
    return record(tuple(properties), properties, **more)


def variables(description: str) -> Schema:
    return {
        "type": ["object", "null"],
        "description": f"{description} Null is {{}}. Nested at most {payload.NESTING_MAX} levels deep, no text with "
        "U+0000, numbers in the range of a double.",
    }


NEXT_PAGE_TOKEN: Schema = text(
    "If there is more: the pageToken that the next page is had by. A page ends early where the answer would get larger "
    "than WINDLASS_ANSWER_BYTES_MAX."
)


def cursor_page_of(of: str, total: str = "How many match on all pages together.") -> Schema:
    """A page that may end early, and says where the next one begins."""
    page = {
        "items": {"type": "array", "items": ref(of), "description": "This page."},
        "total": integer(total, minimum=0),
        "page": integer("This page's number, from 0.", minimum=0),
        "pageSize": integer("The page size in use.", minimum=1, maximum=bounds.PAGE_SIZE_MAX),
    }
    return record(tuple(page), {**page, "nextPageToken": NEXT_PAGE_TOKEN})
