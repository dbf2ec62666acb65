"""An act with a beginning and an end: a block or a function, recorded with its outcome whatever happens in it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from msgspec import UNSET

from tallystick.client.actors import Actor, Target
from tallystick.client.recording import Fields, Recording
from tallystick.client.snapshot import plain
from tallystick.errors import AuditError
from tallystick.event.model import Outcome
from tallystick.event.target_extraction import extract_targets

if TYPE_CHECKING:
    import inspect

log = logging.getLogger("tallystick")

P = ParamSpec("P")
R = TypeVar("R")
TargetOf = Callable[..., Target | Sequence[Target] | None] | Target
_DENIED_STATUS: Final = frozenset({401, 403})


def outcome_of(error: BaseException) -> Outcome:
    """Return what an exception says about the act that raised it.

    Denied: PermissionError, Django's PermissionDenied, and HTTP errors of status 401 and 403. Unknown: what
    ends a thread or task from outside (cancellation, interrupt), for nobody knows how far the act got.
    """
    if isinstance(error, PermissionError) or type(error).__name__ in (
        "PermissionDenied",
        "NotAuthorizedException",
    ):
        return "denied"
    for name in ("status_code", "code", "status"):
        if getattr(error, name, None) in _DENIED_STATUS:
            return "denied"
    return "failure" if isinstance(error, Exception) else "unknown"


class Draft:
    """The event of an act under way; what is set here is recorded when the act ends.

    `actor` is who acts where that differs from what is bound.
    `outcome` is only to be set where it differs from what ending (success) or raising (failure, denied) says.
    """

    def __init__(self, action: str, fields: Fields) -> None:
        self.action = action
        self.targets: list[Target] = list(fields.get("targets", ()))
        target = fields.get("target")
        if target is not None:
            self.targets.insert(0, target)
        self.before: Any = fields.get("before", UNSET)
        self.after: Any = fields.get("after", UNSET)
        self.metadata: dict[str, Any] = dict(fields.get("metadata") or {})
        self.outcome: Outcome | None = fields.get("outcome")
        self.actor: Actor | None = fields.get("actor")
        self.error: BaseException | Mapping[str, str] | str | None = fields.get("error")
        self.dropped = False
        self._fields = fields

    def drop(self) -> None:
        """Record nothing: it turned out that nothing was done."""
        self.dropped = True

    def ended(self, error: BaseException | None, seconds: float) -> Fields:
        """Return the fields of the event, now that the act has ended."""
        fields: Fields = {**self._fields, "target": None, "targets": self.targets}
        fields["actor"] = self.actor
        fields["outcome"] = self.outcome or ("success" if error is None else outcome_of(error))
        fields["error"] = self.error if self.error is not None else error
        fields["before"] = self.before
        fields["after"] = self.after
        fields["metadata"] = {**self.metadata, "duration_ms": round(seconds * 1000, 3)}
        return fields


class Act:
    """`with audit.action(…) as event:`"""

    def __init__(self, recording: Recording, action: str, fields: Fields) -> None:
        self._recording = recording
        self._draft = Draft(action, fields)
        self._began = 0.0

    def __enter__(self) -> Draft:
        self._began = self._recording.recorder.monotonic()
        return self._draft

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._draft.dropped:
            with _Guard(error):
                self._recording.keep(self._draft.action, **self._ended(error))

    async def __aenter__(self) -> Draft:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._draft.dropped:
            with _Guard(error):
                if error is not None and not isinstance(error, Exception):
                    # A cancelled task gets no second await; the disk is waited for here instead.
                    self._recording.keep(self._draft.action, **self._ended(error))
                else:
                    await self._recording.keep_soon(self._draft.action, **self._ended(error))

    def _ended(self, error: BaseException | None) -> Fields:
        return self._draft.ended(error, self._recording.recorder.monotonic() - self._began)


class _Guard:
    """Lets the act's own exception win over one of recording it, which is logged and noted on the former."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._error is None or not isinstance(raised, AuditError):
            return False
        log.error("tallystick: an act that failed could not be recorded either: %s", raised)
        self._error.add_note(f"tallystick: this was not recorded: {raised}")
        return True


def audited_call(
    recording: Recording,
    function: Callable[P, R],
    action: str,
    target: TargetOf | None,
    metadata: Mapping[str, Any] | None,
) -> Callable[P, R]:
    """Return `function` with every call of it recorded."""
    import inspect  # larger than all that recording needs

    signature = inspect.signature(function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Act, Draft, dict[str, Any]]:
        named = _named(signature, args, kwargs)
        act = Act(recording, action, {"metadata": metadata, "targets": _targets(target, named)})
        return act, act._draft, named

    def found(draft: Draft, named: dict[str, Any], result: Any) -> None:
        if target is None and not draft.targets:
            draft.targets = targets_of(action, named, result)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            act, draft, named = begin(args, kwargs)
            async with act:
                result: Any = None
                try:
                    result = await cast(Any, function)(*args, **kwargs)
                finally:
                    found(draft, named, result)
                return result

        return cast("Callable[P, R]", call_async)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        act, draft, named = begin(args, kwargs)
        with act:
            result: Any = None
            try:
                result = function(*args, **kwargs)
            finally:
                found(draft, named, result)
            return result

    return call


def targets_of(action: str, arguments: Any, result: Any) -> list[Target]:
    """Return the targets that can be told for certain from what went into a call and what came out of it."""
    found = extract_targets(action, plain(arguments, _silent), plain(result, _silent))
    return [Target(one.type, one.id, one.name) for one in found]


def _silent(secret: Any) -> None:
    return None


def _named(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included; empty when the call will fail for them anyway."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind.name == "VAR_KEYWORD":
            named.update(value)
        elif name not in ("self", "cls"):
            named[name] = value
    return named


def _targets(target: TargetOf | None, named: dict[str, Any]) -> list[Target]:
    made = target(**named) if callable(target) and not isinstance(target, Target) else target
    if made is None:
        return []
    return [made] if isinstance(made, Target) else list(made)
