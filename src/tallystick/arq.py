"""arq: who acts and within what travels with each job, and each run of a job can be an event.

pool = await create_pool(redis, job_serializer=serializer(), job_deserializer=deserializer())

class WorkerSettings:
    functions = [audited(audit, record=True)(rebuild)]
    job_serializer, job_deserializer = serializer(), deserializer()
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from msgspec import structs

from tallystick.client.act import Act
from tallystick.client.actors import Actor, Service, Target
from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.context import bound_carried, carried, within

KEY: Final = "tallystick"
_RESULT: Final = "r"  # the key that only the record of a finished job has
Job = Callable[..., Awaitable[Any]]
J = TypeVar("J", bound=Job)

# What came with the job that this task of the worker has just read.
_arrived: ContextVar[Any] = ContextVar("tallystick_job", default=None)


def serializer(inner: Callable[[dict[str, Any]], bytes] = pickle.dumps) -> Callable[[dict[str, Any]], bytes]:
    """Return a `job_serializer` that puts what is bound into each job; `inner` is the one used otherwise."""

    def serialize(job: dict[str, Any]) -> bytes:
        said = None if _RESULT in job else carried()
        return inner(job if said is None else {**job, KEY: said})

    return serialize


def deserializer(
    inner: Callable[[bytes], dict[str, Any]] = pickle.loads,
) -> Callable[[bytes], dict[str, Any]]:
    """Return the `job_deserializer` that goes with `serializer`."""

    def deserialize(raw: bytes) -> dict[str, Any]:
        job = inner(raw)
        _arrived.set(job.get(KEY))
        return job

    return deserialize


def audited(
    audit: Audit | AsyncAudit,
    *,
    record: bool = False,
    actor: Actor | None = None,
) -> Callable[[J], J]:
    """Run a job within what was bound where it was sent.

    Args:
        audit: where to record.
        record: record each run as `task.run`, with outcome and duration.
        actor: who acts where nobody was bound, as for a cron job; by default a Service called arq.
    """
    nobody = actor or Service("arq")

    def decorate(job: J) -> J:
        @functools.wraps(job)
        async def run(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            bound = bound_carried(_arrived.get())
            if bound.actor is None:
                bound = structs.replace(bound, actor=nobody)
            with within(bound):
                if not record:
                    return await job(ctx, *args, **kwargs)
                said = {"task_id": ctx.get("job_id"), "retries": int(ctx.get("job_try") or 1) - 1}
                target = Target("task", job.__name__)
                async with Act(audit.recording, "task.run", {"target": target, "metadata": said}):
                    return await job(ctx, *args, **kwargs)

        return cast("J", run)  # wraps() keeps name and signature, which its type cannot say

    return decorate
