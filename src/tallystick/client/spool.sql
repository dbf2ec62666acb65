-- The spool of a producer: what was recorded and is not yet known to be in the log.

-- Events in the order they were recorded; a row leaves when the server has committed or refused it.
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY,   -- may be used again once a row is gone, so rows are deleted by seq and id
    id TEXT NOT NULL,
    at INTEGER NOT NULL,       -- milliseconds, for the age that is shown
    event BLOB NOT NULL,
    lost INTEGER               -- of an event that tells of lost ones, how many; so that dropping it forgets none
);

-- Events the server will never take; a human looks at them, nothing deletes them by itself.
CREATE TABLE IF NOT EXISTS dead (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    event BLOB NOT NULL
);

-- Events that were lost, counted until the count itself is recorded as an event.
CREATE TABLE IF NOT EXISTS gap (
    id TEXT PRIMARY KEY,       -- of the event that will tell of it
    reason TEXT NOT NULL,
    lost INTEGER NOT NULL,     -- 0: how many is unknown
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
