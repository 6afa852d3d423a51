"""What a token is limited to, judged where a command's job or instance has been read."""

from __future__ import annotations

from collections.abc import Mapping

from windlass.auth.principal import Principal
from windlass.commands import CancelInstance, Command, CompleteJob, CompleteUserTask, FailJob, SignalWait
from windlass.definition.model import Definition
from windlass.instance import Instance
from windlass.store.lease import JobRow


def require_scope(
    caller: Principal,
    command: Command,
    jobs: Mapping[str, JobRow],
    instances: Mapping[str, Instance],
    definitions: Mapping[tuple[str, int], Definition],
) -> None:
    """Raises Forbidden, naming the job type or the definition that the caller's token is not for.

    A job that is closed, or not there, passes: the call then changes nothing, or is told so.
    """
    match command:
        case CompleteJob() | FailJob() if caller.job_types is not None:
            job = jobs.get(command.job_id)
            instance = instances.get(job.instance_id) if job else None
            if job is None or instance is None:
                return
            step = instance.progress.open.get(job.execution_id)
            definition = definitions.get((instance.definition_id, instance.definition_version))
            if step is None or definition is None:
                return
            job_type = definition.steps[step.step_id].job_type or step.step_id
            caller.require_job_types((job_type,), "complete or fail jobs")
        case CancelInstance() | CompleteUserTask() | SignalWait() if caller.definitions is not None:
            instance = instances.get(command.instance_id)
            if instance is not None:
                caller.require_definition(instance.definition_id, "change instances")
