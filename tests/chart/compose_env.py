"""compose/engine.env: the engine's environment as the chart renders it for the small cluster, for the compose files.

Run it to write the file; test_compose_env.py compares.
"""

from pathlib import Path

from overlay import values_of_overlay
from rendering import DATABASE, REPOSITORY, merged, rendered

PATH = REPOSITORY / "compose" / "engine.env"
OVERLAY = REPOSITORY / "values" / "small-cluster.yaml"
#: of an installation or of a container, so a compose file says it
OWN = {"WE_POSTGRES_DSN", "WINDLASS_NODE_NAME"}
HEAD = f"""# Written by python tests/chart/compose_env.py: what the chart sets with values/{OVERLAY.name}.
# What a compose file sets itself wins over this.
"""


def chart_env(overlay: Path = OVERLAY) -> dict[str, str]:
    """What the chart sets for its engines with an overlay, but for what comes from a Secret or from the pod."""
    values = merged(values_of_overlay(overlay), DATABASE)
    (deployment,) = rendered(values).of_kind("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def text() -> str:
    return HEAD + "".join(f"{name}={value}\n" for name, value in chart_env().items() if name not in OWN)


def read_env(path: Path) -> dict[str, str]:
    """An env file of one NAME=VALUE a line, as compose reads it."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


if __name__ == "__main__":
    PATH.write_text(text())
