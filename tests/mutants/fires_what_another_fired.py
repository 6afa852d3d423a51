"""A scheduler fires every timer that it has found due, although another may have fired it meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
from mutation import serve

from windlass import advance
from windlass.instance import Instance

genuine = advance.fire_timer


def fire_timer(
    definition: Any, instance: Instance, execution_id: str, timer_id: str, target_step_id: str, **more: Any
) -> advance.Decision:
    parent = instance.progress.open.get(execution_id)
    if parent is not None and timer_id not in parent.timer_ids:
        again = msgspec.structs.replace(parent, timer_ids=(*parent.timer_ids, timer_id))
        progress = msgspec.structs.replace(
            instance.progress, open={**instance.progress.open, execution_id: again}
        )
        instance = msgspec.structs.replace(instance, progress=progress)
    return genuine(definition, instance, execution_id, timer_id, target_step_id, **more)


advance.fire_timer = fire_timer

if __name__ == "__main__":
    serve()
