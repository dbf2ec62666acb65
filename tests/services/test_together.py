"""One question for all who ask it at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from tallystick.services.together import Together


async def test_one_question_for_all() -> None:
    """Sixty-four requests that find an answer expired would send sixty-four questions to the database."""
    asked = 0

    async def question() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return asked

    together: Together[str, int] = Together()
    assert await asyncio.gather(*(together.ask("a", question) for _ in range(64))) == [1] * 64
    assert await together.ask("a", question) == 2, "an answer was remembered"
    assert await asyncio.gather(together.ask("a", question), together.ask("b", question)) == [4, 4]


async def test_errors_and_those_who_leave() -> None:
    """An error reaches everyone who asked; whoever goes away takes nobody's answer along."""
    ready = asyncio.Event()

    async def question() -> str:
        await ready.wait()
        raise ValueError("away")

    together: Together[str, str] = Together()
    asking = [asyncio.create_task(together.ask("a", question)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    ready.set()
    for one in asking[1:]:
        with pytest.raises(ValueError, match="away"):
            await one
    assert asking[0].cancelled() or asking[0].cancelling()
