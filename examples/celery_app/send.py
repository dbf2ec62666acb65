"""Ask the worker for two purges, in Ada's name: one that it does and one that it refuses."""

from __future__ import annotations

from tallystick import User

from .app import audit, purge

if __name__ == "__main__":
    with audit.context(actor=User("usr_1", name="Ada"), workspace="prj_9", request_id="req-celery"):
        purge.delay("ds_1", older_than_days=90)
        purge.delay("ds_legal", older_than_days=1)
