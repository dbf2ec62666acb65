-- exports: what was or is written into a file of the data folder for somebody to fetch. A file is there for 24 hours, its
-- row stays. A server that works on one says so every few seconds; one that was left behind is begun anew by any server.
CREATE TABLE exports (
    organization_id uuid        NOT NULL,
    id              text        NOT NULL,  -- exp_…
    format          text        NOT NULL,
    filter          text        NOT NULL CHECK (length(filter) <= 16000),  -- what may be seen of what was asked for
    owner_id        text        NOT NULL,
    owner_name      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    state           text        NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')),
    seen_at         timestamptz NOT NULL,  -- the last sign of life of whoever works on it
    total           bigint      NOT NULL,  -- events expected, for the progress
    events          bigint      NOT NULL DEFAULT 0,
    bytes           bigint      NOT NULL DEFAULT 0,
    sha256          bytea,
    checkpoint      text,                  -- the log when it was begun
    finished_at     timestamptz,
    failure         text,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX exports_to_do ON exports (seen_at) WHERE state IN ('waiting', 'running');
CREATE INDEX exports_to_drop ON exports (finished_at) WHERE state = 'done';
GRANT SELECT ON exports TO tallystick_reader, tallystick_writer, tallystick_keeper;
GRANT INSERT, UPDATE ON exports TO tallystick_writer;
