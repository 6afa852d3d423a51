"""Charts with one promise broken, each with the drill on Kubernetes that must notice.

Each is a change to the text of one template, made on a copy of the chart; tests/kind/test_chart_mutants.py puts them on
trial.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChartMutant:
    """`template` loses `old` for `new`; `caught_by`: the checks of `drill` any of which may catch it."""

    name: str
    drill: str
    caught_by: tuple[str, ...]
    breaks: str
    template: str
    old: str
    new: str


CHART_MUTANTS: tuple[ChartMutant, ...] = (
    ChartMutant(
        "all_at_once",
        "U1",
        ("AV", "RO"),
        "an upgrade ends every pod before the new ones are ready",
        "_deployment.tpl",
        '      maxUnavailable: {{ include "windlass.scalar" $values.rollingUpdate.maxUnavailable }}\n'
        '      maxSurge: {{ include "windlass.scalar" $values.rollingUpdate.maxSurge }}\n',
        '      maxUnavailable: "100%"\n      maxSurge: 0\n',
    ),
    ChartMutant(
        "migration_after_pods",
        "U3",
        ("RO",),
        "the migration runs after the pods have been replaced",
        "migrate.yaml",
        'ternary "pre-upgrade" "pre-install,pre-upgrade"',
        'ternary "post-upgrade" "post-install,post-upgrade"',
    ),
    ChartMutant(
        "leaves_at_once",
        "U1",
        ("AV",),
        "a pod stops listening while the Service still sends calls to it",
        "_deployment.tpl",
        "{{- with int64 $values.preStopSeconds }}",
        "{{- with 0 }}",
    ),
    ChartMutant(
        "secret_in_annotation",
        "U8",
        ("SK",),
        "an annotation of the pods contains the Secret's content",
        "_deployment.tpl",
        "        kubectl.kubernetes.io/default-container: engine\n",
        "        kubectl.kubernetes.io/default-container: engine\n"
        '        checksum/database: {{ (lookup "v1" "Secret" $root.Release.Namespace '
        "$values.postgresql.existingSecret).data | toJson | quote }}\n",
    ),
    ChartMutant(
        "budget_of_all",
        "U5",
        ("AV", "RO"),
        "the disruption budget allows all pods to be evicted at once",
        "disruptionbudget.yaml",
        'maxUnavailable: {{ include "windlass.scalar" $budget.maxUnavailable | default 1 }}',
        'maxUnavailable: "100%"',
    ),
)
