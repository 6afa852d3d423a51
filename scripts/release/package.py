"""The chart as a .tgz that is the same to the byte whenever and wherever it is made from the same commit.

Helm writes the moment into the archive, and file modes as it finds them; so its archive is written again with all of
that fixed. `helm push` takes the annotation `created` from the file's time, which is fixed as well, so the digest in
the registry is the same, too.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import helm_python
import yaml
from artifact_hub import Described, readable

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "windlass"


def commit_time_s() -> int:
    """`SOURCE_DATE_EPOCH`, or when the last commit that touched the chart was made."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct", "--", CHART],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(shown.stdout or 0)


def package(
    destination: Path, *, chart: Path = CHART, at_s: int | None = None, described: Described | None = None
) -> Path:
    """`described` takes the place of Chart.yaml, and its home is where the README's links then lead.

    Raises helm_python.HelmError for a chart that is none.
    """
    made_at_s = commit_time_s() if at_s is None else at_s
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "chart" / chart.name
        shutil.copytree(chart, copy)
        if described is not None:
            (copy / "Chart.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
            if home := described.get("home"):
                page = copy / "README.md"
                readme = f"{chart.relative_to(ROOT).as_posix()}/{page.name}"
                told = readable(page.read_text(), path=readme, source_url=home, version=described["version"])
                page.write_text(told)
        written = Path(helm_python.package(copy, destination=folder))
        content = _rewritten(written, made_at_s)
        path = destination / written.name
    path.write_bytes(content)
    os.utime(path, (made_at_s, made_at_s))
    return path


def _rewritten(archive: Path, at_s: int) -> bytes:
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as source,
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=at_s) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda each: each.name):
            fixed = tarfile.TarInfo(member.name)
            fixed.size, fixed.mode, fixed.mtime = member.size, 0o644, at_s
            target.addfile(fixed, source.extractfile(member))
    return packed.getvalue()
