-- Producers: who numbers events, how far, what of it is missing. Derived from the log by services/producers.py, which reads
-- it by position; only the signs of life are from elsewhere. Nothing here is proof: the numbers in the leaves are.

-- producers: everyone who ever numbered an event or gave a sign of life.
CREATE TABLE producers (
    organization_id  uuid        NOT NULL,
    id               text        NOT NULL,
    first_seen_at    timestamptz NOT NULL,
    last_event_at    timestamptz,            -- received_at of the newest numbered event
    last_position    bigint,
    beat_at          timestamptz,            -- the last sign of life, and what it said
    beat_epoch       text,
    beat_last        bigint,
    beat_waiting     bigint,                 -- the first number that still waits to be sent; null = none
    interval_seconds double precision,       -- how often a sign of life is promised; 0 or null = not at all
    silent_since     timestamptz,            -- silence that was reported
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX producers_expected ON producers (beat_at) WHERE interval_seconds > 0 AND silent_since IS NULL;

-- producer_epochs: the account of each epoch of a producer (event/numbering.py), in ranges.
CREATE TABLE producer_epochs (
    organization_id uuid           NOT NULL,
    producer        text           NOT NULL,
    epoch           text           NOT NULL,
    last_event_at   timestamptz    NOT NULL,
    highest         bigint         NOT NULL,
    events          bigint         NOT NULL,
    conflicts       bigint         NOT NULL,
    missing         int8multirange NOT NULL,
    unsent          int8multirange NOT NULL,
    unlisted        bigint         NOT NULL,
    floor           bigint         NOT NULL,
    -- What is missing for a while is suspected first, and reported once.
    suspected       int8multirange NOT NULL DEFAULT '{}',
    suspected_at    timestamptz,
    reported        int8multirange NOT NULL DEFAULT '{}',
    conflicts_reported boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (organization_id, producer, epoch)
);
CREATE INDEX producer_epochs_in_doubt ON producer_epochs (organization_id)
    WHERE NOT isempty(missing) OR NOT isempty(reported) OR (conflicts > 0 AND NOT conflicts_reported);

-- producer_cursors: up to which position each log was read; its lock makes sure that every event is counted once.
CREATE TABLE producer_cursors (
    organization_id uuid   PRIMARY KEY,
    position        bigint NOT NULL DEFAULT 0
);

GRANT SELECT ON producers, producer_epochs, producer_cursors TO tallystick_reader, tallystick_writer, tallystick_keeper;
GRANT INSERT, UPDATE ON producers, producer_epochs, producer_cursors TO tallystick_writer;
GRANT DELETE ON producer_epochs TO tallystick_writer;
