"""The state of this replica: probes, details, the cluster, and the document itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windlass.api.openapi.operation import Operation
from windlass.api.openapi.shape import Schema, integer, record, ref, time, whole, word
from windlass.config import DISPATCH_MODES
from windlass.wire import WORKERS_SHOWN_MAX

_MODE: Schema = word("How jobs reach workers.", enum=list(DISPATCH_MODES))
_REASONS: Schema = {"type": "array", "items": {"type": "string"}, "description": "Why not; empty when ready."}
_DEGRADED: Schema = {
    "type": "array",
    "items": {"type": "string"},
    "description": "What does not work although calls are answered; absent if everything works.",
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="getLiveness",
        method="get",
        path="/healthz",
        tag="node",
        summary="Is the process alive?",
        description="Does not look at the database.",
        answer_description="Alive. No body.",
        fails=(),
    ),
    Operation(
        id="getHealth",
        method="get",
        path="/health",
        tag="node",
        summary="Who is alive here?",
        answer="Alive",
        answer_description="Alive.",
        fails=(),
    ),
    *(
        Operation(
            id=id,
            method="get",
            path=path,
            tag="node",
            summary="May calls be sent here?",
            description="Looks at the database and the schema at most twice a second.",
            answer="Readiness",
            answer_description="Ready.",
            refused={503: "Not ready, with the reasons; or the node does not accept the call."},
            refused_answers={503: "Readiness"},
            fails=(504,),
        )
        for id, path in (("getReadiness", "/ready"), ("getReadinessForProbes", "/readyz"))
    ),
    Operation(
        id="getApiHealth",
        method="get",
        path="/api/health",
        tag="node",
        summary="Is the process alive?",
        description="The same as /health in other words: it does not look at the database.",
        answer="Serving",
        answer_description="Alive.",
        fails=(),
    ),
    Operation(
        id="getApiReadiness",
        method="get",
        path="/api/ready",
        tag="node",
        summary="May calls be sent here?",
        description="The same as /ready in other words.",
        answer="ReadyWord",
        answer_description="Ready.",
        refused={503: "Not ready, with the reasons; or the node does not accept the call."},
        refused_answers={503: "ReadyWord"},
        fails=(504,),
    ),
    Operation(
        id="getHealthDetails",
        method="get",
        path="/health/detailed",
        tag="node",
        summary="What is the state of the node?",
        description="Answers 200 whatever the state.",
        answer="HealthDetails",
        answer_description="The state.",
        fails=(504,),
    ),
    *(
        Operation(
            id=id,
            method="get",
            path=path,
            tag="node",
            summary="Which nodes and workers are there?",
            answer="ClusterInfo",
            answer_description="The nodes and the workers.",
        )
        for id, path in (("getClusterInfo", "/cluster/info"), ("getApiClusterInfo", "/api/cluster/info"))
    ),
    Operation(
        id="getOpenapi",
        method="get",
        path="/openapi.json",
        tag="node",
        summary="This document",
        description="With the limits in force on this node. A node that runs as scheduler has none.",
        answer="Openapi",
        answer_description="The document.",
        fails=(),
    ),
)


SCHEMAS: Mapping[str, Schema] = {
    "Alive": whole(
        {
            "status": word("The process runs.", const="alive"),
            "version": word("The version of the engine."),
            "nodeName": word("WINDLASS_NODE_NAME."),
        },
    ),
    "Serving": whole({"status": word("The process runs.", const="serving")}),
    "ReadyWord": record(
        ("status",),
        {
            "status": word("Whether calls may be sent here.", enum=["ready", "not-ready"]),
            "reasons": {**_REASONS, "description": "Why not; absent when ready."},
            "degraded": _DEGRADED,
        },
    ),
    "Readiness": record(
        ("ready", "reasons"),
        {
            "ready": {"type": "boolean", "description": "Whether calls may be sent here."},
            "reasons": _REASONS,
            "degraded": _DEGRADED,
        },
    ),
    "HealthDetails": whole(
        {
            "status": word("The same as /ready.", enum=["ready", "not-ready"]),
            "reasons": _REASONS,
            "version": word("The version of the engine."),
            "nodeName": word("WINDLASS_NODE_NAME."),
            "dispatchMode": _MODE,
            "uptimeSeconds": {"type": "number", "minimum": 0, "description": "Since the node started."},
            "connections": integer("Open REST connections.", minimum=0),
            "postgresVersion": word(
                "The version of the database's server, as it said when the node started."
            ),
            "draining": {"type": "boolean", "description": "Whether the node is shutting down."},
        },
        description="For human readers: further fields show lanes, polls, pool and wake-ups, and may change.",
    ),
    "ClusterInfo": whole(
        {
            "node": word("Who answers: WINDLASS_NODE_NAME or WINDLASS_SERVER_ID."),
            "server_id": word("The same."),
            "version": word("The version of the engine that answers."),
            "roles": {
                "type": "array",
                "items": word("A role.", enum=["api", "scheduler"]),
                "description": "What the node does that answers.",
            },
            "dispatchMode": _MODE,
            "wakeMode": word("How waiting polls learn of jobs (WINDLASS_WAKE_MODE)."),
            "wakeBus": word("What carries the nodes' hints to each other (WINDLASS_WAKE_BUS)."),
            "nodes": {
                "type": "array",
                "items": ref("Node"),
                "description": "The nodes that have sent heartbeats.",
            },
            "alive": integer("How many of them are alive.", minimum=0),
            "peers": {
                "type": "array",
                "items": word("WINDLASS_NODE_NAME."),
                "description": "The nodes that are alive beside this one.",
            },
            "workers": {
                "type": "array",
                "items": ref("Worker"),
                "description": f"The first {WORKERS_SHOWN_MAX} registered workers that are alive.",
            },
            "workersAlive": integer("How many of them there are altogether.", minimum=0),
        },
    ),
    "Node": whole(
        {
            "id": word("WINDLASS_NODE_NAME."),
            "role": word("Its role.", enum=["serve", "api", "scheduler"]),
            "version": word("The version of its engine."),
            "dispatchMode": _MODE,
            "startedAt": time("When it started."),
            "lastSeenAt": time("Its last heartbeat."),
            "alive": {"type": "boolean", "description": "Whether that was recently."},
            "self": {"type": "boolean", "description": "Whether it is the node that answers this call."},
        },
    ),
    "Openapi": whole(
        {
            "openapi": word("The version of OpenAPI.", const="3.1.0"),
            "info": {"type": "object"},
            "paths": {"type": "object"},
            "components": {"type": "object"},
        },
    ),
}
