"""A leader that is deposed goes on: neither its own clock nor the statement that removes rows asks any more."""

from __future__ import annotations

import mutation

from windlass.dispatch.leader import Leadership

Leadership.leads = lambda self: self._term is not None  # type: ignore[method-assign]
Leadership._step_down = lambda _self: None  # type: ignore[method-assign]
mutation.replace_sql(
    "outbox_settle", "WHERE name = 'relay' AND epoch = $1", "WHERE name = 'relay' AND $1::bigint > 0"
)

if __name__ == "__main__":
    mutation.serve()
