"""What `pip install windlass-client` brings: the client, what it needs, and nothing of an engine."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]
#: distribution -> import name: an engine, its databases' drivers, its brokers' clients
NOT_OURS = {
    "windlass": "windlass",
    "seatrial": "seatrial",
    "asyncpg": "asyncpg",
    "psycopg": "psycopg",
    "aiokafka": "aiokafka",
    "confluent-kafka": "confluent_kafka",
    "kafka-python": "kafka",
}
GENERATED_BY = re.compile(r"ValidateProtobufRuntimeVersion\(\s*\S+,\s*(\d+),\s*(\d+),\s*(\d+),")

IN_A_FRESH_INTERPRETER = """
import importlib.metadata, importlib.util, json, sys
names = json.loads(sys.argv[2])
sys.path.append(sys.argv[1])
import windlass_client
told = {"found": [name for name in names if importlib.util.find_spec(name)],
        "distributions": sorted(each.metadata["Name"] for each in importlib.metadata.distributions())}
for address in ("http://localhost:8080", "grpc://localhost:9090"):
    try:
        told[address] = type(windlass_client.Client(address)).__name__
    except ImportError as error:
        told[address] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT / "client")
    (made,) = folder.glob("windlass_client-*.whl")
    return made


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def requirements(wheel: Path, extra: str) -> list[str]:
    """Those of the wheel itself, with the extra's when one is named."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        told = metadata.PathDistribution(zipfile.Path(archive, f"{name.rpartition('/')[0]}/")).requires or []
    found = [Requirement(text) for text in told]
    chosen = [each for each in found if each.marker is None or each.marker.evaluate({"extra": extra})]
    for each in chosen:
        each.marker = None
    return [str(each) for each in chosen]


def needed(roots: Iterable[str]) -> set[str]:
    """The roots and all that they require in turn, as the distributions installed here say."""
    names: set[str] = runpy.run_path(str(ROOT / "scripts/release/lock.py"))["needed"](roots)
    return names


def installed(wheel: Path, names: Iterable[str], folder: Path) -> Path:
    """The wheel, and of all that is installed here the distributions named, and no other."""
    run("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", sys.executable,
        "--target", folder, wheel)  # fmt: skip
    for name in names:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def told_by(folder: Path) -> dict[str, Any]:
    """By an interpreter that sees the standard library and this folder."""
    names = json.dumps([*NOT_OURS.values(), "windlass_client"])
    told: dict[str, Any] = json.loads(
        run(sys.executable, "-I", "-S", "-c", IN_A_FRESH_INTERPRETER, folder, names)
    )
    return told


@pytest.mark.parametrize("extra", ["", "grpc"])
def test_nothing_of_an_engine_comes_with_it(wheel: Path, extra: str) -> None:
    names = needed(requirements(wheel, extra))
    assert {"aiohttp", "msgspec"} <= names
    assert ({"grpcio", "protobuf"} <= names) == (extra == "grpc")
    assert names & set(NOT_OURS) == set()


@pytest.mark.parametrize(
    ("extra", "over_grpc"), [("", "pip install 'windlass-client[grpc]'"), ("grpc", "Client")]
)
def test_it_works_with_what_comes_with_it_alone(
    wheel: Path, tmp_path: Path, extra: str, over_grpc: str
) -> None:
    names = needed(requirements(wheel, extra))
    told = told_by(installed(wheel, names, tmp_path))
    assert told["found"] == ["windlass_client"]
    assert len(told["distributions"]) == len(names) + 1
    assert told["http://localhost:8080"] == "Client"
    assert told["grpc://localhost:9090"].endswith(over_grpc)


def test_the_wheel_holds_the_package_typed_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {
        "windlass_client/py.typed",
        "windlass_client/worker.py",
        "windlass_client/gen/workflow_pb2.pyi",
    } <= held
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"windlass_client"}


def project(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return found


def test_its_version_is_the_engine_s() -> None:
    assert project("client")["version"] == project("engine")["version"]


@pytest.mark.parametrize("folder", ["engine", "harness"])
def test_neither_engine_nor_harness_needs_it(folder: str) -> None:
    told = [Requirement(text).name for text in project(folder)["dependencies"]]
    assert told
    assert "windlass-client" not in told


def test_protobuf_is_required_as_the_generated_messages_demand() -> None:
    """No older than the release that wrote them, and at most the major version after it."""
    written = GENERATED_BY.search((ROOT / "client/windlass_client/gen/workflow_pb2.py").read_text())
    assert written is not None
    major, minor, patch = map(int, written.groups())
    (asked,) = [
        Requirement(text)
        for text in project("client")["optional-dependencies"]["grpc"]
        if text.startswith("protobuf")
    ]
    assert Version(f"{major}.{minor}.{patch}") in asked.specifier
    assert f">={major}.{minor}.{patch}" in str(asked.specifier)
    assert Version(f"{major + 1}.99.0") in asked.specifier
    assert Version(f"{major + 2}.0.0") not in asked.specifier
