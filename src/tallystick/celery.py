"""Celery: who acts and within what travels with each task, and each run of a task can be an event.

Audited(app, audit=audit, record=True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery import Celery, signals
from msgspec import structs

from tallystick.client.act import outcome_of
from tallystick.client.actors import Actor, Service, Target
from tallystick.client.audit import Audit
from tallystick.client.context import Bound, bind, bound_carried, carried, current
from tallystick.client.recording import Fields
from tallystick.event.model import Outcome

HEADER: Final = "tallystick"
# What Celery calls the end of a run. A task that is to be tried again has failed this time; of one that was rejected or
# that looks after its own state, nobody knows here how far it got.
_OUTCOMES: Final[dict[str, Outcome]] = {"SUCCESS": "success", "FAILURE": "failure", "RETRY": "failure"}


class Audited:
    """Carries the context of whoever sends a task to the worker that runs it, in the message's headers.

    Args:
        app: the application; tasks of other applications in the process are let alone.
        audit: where to record; the same call belongs into the senders, where it only carries.
        record: record each run of a task as `task.run`, with outcome, duration and number of retries.
        actor_of: gets the task's name, returns who acts where nobody was bound when it was sent (a schedule, a script);
            by default a Service with the application's name.
    """

    def __init__(
        self,
        app: Celery,
        *,
        audit: Audit,
        record: bool = False,
        actor_of: Callable[[str], Actor] | None = None,
    ) -> None:
        self._app = app
        self._recording = audit.recording
        self._record = record
        self._actor_of = actor_of or (lambda name: Service(app.main or "celery"))
        self._runs: dict[str, _Run] = {}
        # Strong references: this lives as long as the signals do.
        signals.before_task_publish.connect(_send, weak=False, dispatch_uid="tallystick")
        signals.task_prerun.connect(self._begin, weak=False)
        signals.task_failure.connect(self._failed, weak=False)
        signals.task_retry.connect(self._retried, weak=False)
        signals.task_postrun.connect(self._end, weak=False)

    def _begin(self, task_id: str, task: Any, **more: Any) -> None:
        if task.app is not self._app:
            return
        before = current()
        sent = task.request.get(HEADER)
        bound = before if sent is None and task.request.is_eager else bound_carried(sent)
        if bound.actor is None:
            bound = structs.replace(bound, actor=self._actor_of(task.name))
        bind(bound)
        self._runs[task_id] = _Run(before, self._recording.recorder.monotonic())

    def _failed(self, task_id: str, exception: BaseException, **more: Any) -> None:
        if task_id in self._runs:
            self._runs[task_id].error = exception

    def _retried(self, request: Any, reason: Any, **more: Any) -> None:
        if request.id in self._runs:
            # `reason` is the exception that asked for it, around what went wrong.
            self._runs[request.id].error = getattr(reason, "exc", None) or reason

    def _end(self, task_id: str, task: Any, state: str | None = None, **more: Any) -> None:
        run = self._runs.pop(task_id, None)
        if run is None:
            return
        try:
            if self._record:
                self._recording.keep("task.run", **self._fields(task, task_id, state, run))
        finally:
            bind(run.before)

    def _fields(self, task: Any, task_id: str, state: str | None, run: _Run) -> Fields:
        error = run.error if isinstance(run.error, BaseException) else None
        outcome = outcome_of(error) if error is not None else _OUTCOMES.get(state or "", "unknown")
        seconds = self._recording.recorder.monotonic() - run.began
        said = {
            "task_id": task_id,
            "state": state,
            "retries": task.request.retries,
            "duration_ms": round(seconds * 1000, 3),
        }
        return {"target": Target("task", task.name), "outcome": outcome, "error": error, "metadata": said}


class _Run:
    """One run of a task on its way."""

    __slots__ = ("before", "began", "error")

    def __init__(self, before: Bound, began: float) -> None:
        self.before = before
        self.began = began
        self.error: Any = None


def _send(headers: dict[str, Any] | None = None, **more: Any) -> None:
    """Put what is bound now into the headers of a task's message."""
    said = carried()
    if headers is not None and said is not None:
        headers.setdefault(HEADER, said)
