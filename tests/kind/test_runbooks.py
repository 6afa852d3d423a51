"""The runbooks' commands and queries, typed as they stand at a release that has what they look for.

Only the words in capitals are filled in: POD, BROKER and the like.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from runbook import Passage, passages, passages_of
from runbook_situation import Situation, a_situation
from trial_namespace import missing_need
from typed_shell import FORWARD

from seatrial.cluster.kind.shared import SharedServices

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

NO_PROMETHEUS = "for Prometheus, which the cluster has not; tests/acceptance holds its metrics to an engine's"
NO_TLS = (
    "for a release with TLS, a certificate of cert-manager's and a pair that is broken for minutes; "
    "tests/unit/engine/test_tls_files.py holds the line that it looks for to the engine's"
)
#: passage -> why it is not typed
UNTYPED: Mapping[str, str] = {
    'sum by (status, path) (rate(http_requests_duration_seconds_count{status=~"5.."}[5m]))': NO_PROMETHEUS,
    "sum by (code) (rate(workflow_engine_kafka_producer_errors_total[5m]))": NO_PROMETHEUS,
    "sum by (pod) (windlass_memory_drawn_bytes)\nmax by (pod) (process_resident_memory_bytes)": NO_PROMETHEUS,
    "sum by (pod, use) (rate(windlass_memory_refused_total[5m]))\n"
    "max by (pod, use) (windlass_memory_drawn_bytes)": NO_PROMETHEUS,
    "kubectl get secret windlass-tls -o jsonpath='{.data.tls\\.crt}' | base64 -d | "
    "openssl x509 -noout -subject -enddate\n"
    "kubectl describe certificate windlass": NO_TLS,
    'kubectl logs -l windlass/serves=api --tail=-1 | grep "tls: the certificate files cannot be used"': NO_TLS,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def situation(
    shared: SharedServices, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Situation]:
    if need := missing_need("helm", "kubectl", "curl"):
        pytest.skip(need)
    async with a_situation(shared, tmp_path_factory.mktemp("runbooks")) as made:
        yield made


@pytest.mark.parametrize("passage", [each for each in passages() if each.text not in UNTYPED], ids=str)
async def test_a_passage_can_be_typed_and_tells_something(situation: Situation, passage: Passage) -> None:
    assert passage.language in {"sh", "sql"}, (
        f"typed how? else name it in UNTYPED, with the reason: {passage}"
    )
    if passage.language == "sql":
        told = situation.query(passage.text)
        assert told.strip()
        assert "(0 rows)" not in told, "the situation has nothing that this looks for"
    else:
        answers = situation.type_each(passage.text)
        assert len(answers) == sum(not FORWARD.search(line) for line in passage.text.splitlines())
        assert all(answers)


async def test_what_is_not_typed_is_there_to_be_typed() -> None:
    assert set(UNTYPED) <= {each.text for each in passages()}


async def test_a_passage_is_found_wherever_it_stands() -> None:
    page = "Do `kubectl get pods -n x`, or `a value`.\n\n```sql\nSELECT 1;\n```\n\n| a | `VACUUM job` |\n"
    assert [(each.language, each.text) for each in passages_of("Page", page)] == [
        ("sql", "SELECT 1;"),
        ("sh", "kubectl get pods -n x"),
        ("sql", "VACUUM job"),
    ]
