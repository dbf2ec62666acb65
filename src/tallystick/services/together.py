"""Callers that ask the same thing at the same moment share one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Together(Generic[K, V]):
    """Asks once for all who want to know the same before the answer is there; remembers nothing afterwards.

    When something remembered expires under load, every request in flight would ask the database for it again.
    """

    def __init__(self) -> None:
        self._asking: dict[K, asyncio.Task[V]] = {}

    async def ask(self, key: K, question: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what `question` gives, or what the one that was put under the same `key` before will give.

        Raises what it raises, to everyone. A caller that goes away stops nobody else's answer.
        """
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(question())
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)
