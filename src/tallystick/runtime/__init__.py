"""The only room that knows every other: builds the parts, runs them, and stops them in order.

`server.py` is the running server, `databases.py` brings up what it keeps its log in, `recording.py`, `people.py` and
`reading.py` build its services, `listening.py` takes its calls, `examination.py` looks at one from outside.
"""

from tallystick.runtime.chance import new_id, now
from tallystick.runtime.databases import DATABASE
from tallystick.runtime.examination import examination
from tallystick.runtime.listening import listen
from tallystick.runtime.server import Runtime

__all__ = ["DATABASE", "Runtime", "examination", "listen", "new_id", "now"]
