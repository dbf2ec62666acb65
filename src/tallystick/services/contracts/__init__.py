"""Reading a log in the words of other products: pages of neutral events, and each product's shape of one."""

from tallystick.services.contracts.pages import Ask, Clauses, Contracts, Found, Row, exactly, too_slow
from tallystick.services.contracts.pull import Pull, Pulled, read_event_id

__all__ = [
    "Ask",
    "Clauses",
    "Contracts",
    "Found",
    "Pull",
    "Pulled",
    "Row",
    "exactly",
    "read_event_id",
    "too_slow",
]
