"""Producers on a page: who numbers events, what is missing, and who has fallen silent."""

from __future__ import annotations

from tallystick.web.call import Answer, Call
from tallystick.web.ui.render import render

# What a state means, and how its chip looks; a script is not needed to read it.
STATES = {
    "active": ("active", "good"),
    "silent": ("silent", "bad"),
    "stopped": ("stopped", ""),
    "unwatched": ("no heartbeat", ""),
}


async def show(call: Call) -> Answer:
    """List the producers of events."""
    after = dict(call.query()).get("after", "").replace("\0", "")
    page = await call.services.producers.list(call.caller, after=after)
    return render(
        call,
        "settings/producers.html",
        title="Producers",
        producers=page.producers,
        next_after=page.next_after,
        states=STATES,
    )


async def show_one(call: Call) -> Answer:
    """Show one producer with the gaps in its numbers."""
    one = await call.services.producers.one(call.caller, call.path("id").replace("\0", ""))
    return render(call, "settings/producer.html", title=one.id, one=one, states=STATES)
