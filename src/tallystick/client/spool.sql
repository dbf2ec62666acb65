-- The spool of a producer: what was recorded and is not yet known to be in the log.

-- Events in the order they were recorded; a row leaves when the server has committed or refused it.
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given out again: the event's number is made of it
    id TEXT NOT NULL,
    at INTEGER NOT NULL,       -- milliseconds, for the age that is shown
    event BLOB NOT NULL,
    lost INTEGER,              -- of an event that tells of lost ones, how many; so that dropping it forgets none
    unsent TEXT                -- of such an event, the numbers it accounts for: JSON [[first, last], …]
);

-- Events the server will never take; a human looks at them, nothing deletes them by itself.
CREATE TABLE IF NOT EXISTS dead (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    event BLOB NOT NULL,
    seq INTEGER NOT NULL,      -- it keeps its number, should it be sent after all
    lost INTEGER,
    unsent TEXT
);

-- Events that will not come, counted until the count itself is recorded as an event.
CREATE TABLE IF NOT EXISTS gap (
    id TEXT PRIMARY KEY,       -- of the event that will tell of it
    reason TEXT NOT NULL,
    lost INTEGER NOT NULL,     -- 0: how many is unknown
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    unsent TEXT NOT NULL       -- numbers of theirs, JSON [[first, last], …]; what never got into the spool has none
);

-- Who numbers the events here, and in which epoch: an event's number is its seq less the base. A new epoch begins where
-- numbers may have been forgotten, or another name was chosen.
CREATE TABLE IF NOT EXISTS numbering (
    base INTEGER PRIMARY KEY,  -- the last seq before this epoch
    producer TEXT NOT NULL,
    epoch TEXT NOT NULL,
    boot TEXT                  -- the run of the machine, where somebody writes without waiting for the disk
);

CREATE TABLE IF NOT EXISTS counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
