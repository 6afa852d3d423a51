"""From chart values to what a compose file is told: drills set engine variables as an operator's -f file would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.cluster import ClusterError
from seatrial.cluster.values import merge
from seatrial.render import RenderError, default_chart, render_chart

#: enough for the chart to render; the file has a database of its own
_ANY_DATABASE: Mapping[str, Any] = {"postgresql": {"dsn": "postgresql://x/x", "existingSecret": ""}}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What differs from the chart's defaults. Variables may hold a password, so they are never shown."""

    env: Mapping[str, str] = field(repr=False)
    image: str | None
    """None when it is the chart's own."""


def engine_settings(
    values: Mapping[str, Any], chart: Path | None, without_secret: Callable[[str], str]
) -> EngineSettings:
    """Renders the chart with the values and without, and compares. Raises ClusterError when it refuses them."""
    folder = chart or default_chart()
    try:
        usual_env, usual_image = _rendered(folder, {})
        env, image = _rendered(folder, values)
    except RenderError as err:
        raise ClusterError(f"the chart cannot be rendered: {without_secret(str(err))}") from None
    changed = {name: value for name, value in env.items() if usual_env.get(name) != value}
    return EngineSettings(changed, image if image != usual_image else None)


def usual_image(chart: Path | None) -> str:
    """The image that the chart would run, as scripts/image names it."""
    return _rendered(chart or default_chart(), {})[1]


def _rendered(chart: Path, values: Mapping[str, Any]) -> tuple[Mapping[str, str], str]:
    rendered = render_chart(chart, merge(values, _ANY_DATABASE))
    (owner,) = rendered.of_kind("Deployment")[:1]
    image = owner["spec"]["template"]["spec"]["containers"][0]["image"]
    return rendered.containers("Deployment")[0].env, str(image)
