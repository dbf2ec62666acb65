-- The instance log: one small log for the whole installation. Its leaves are the organizations' signed checkpoints, so
-- that outsiders have one thing to witness, to time-stamp and to copy, whatever the number of organizations. Nothing of
-- it is written while an event is recorded: a background task appends (services/instance_log.py).

-- instance_log_head: where it stands; one row, and the lock that keeps two servers from appending the same.
CREATE TABLE instance_log_head (
    only_one boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    size     bigint      NOT NULL DEFAULT 0,
    frontier bytea       NOT NULL DEFAULT '',       -- as in log_head
    note     text        NOT NULL DEFAULT '',       -- the last signed checkpoint of the instance log; '' = none yet
    note_at  timestamptz NOT NULL DEFAULT 'epoch',
    grown_at timestamptz NOT NULL DEFAULT 'epoch'   -- the last time a leaf was added
);

-- instance_log_leaves: each leaf is a checkpoint with the signatures of its log's own keys, without the clock's: the same
-- size signed again is the same leaf. Fenced, because it says how large an organization's log was when.
CREATE TABLE instance_log_leaves (
    position        bigint      PRIMARY KEY CHECK (position >= 0),
    organization_id uuid        NOT NULL,
    size            bigint      NOT NULL,
    leaf_hash       bytea       NOT NULL,
    leaf            bytea       NOT NULL,
    appended_at     timestamptz NOT NULL,
    CONSTRAINT leaf_hash_is_of_leaf CHECK (leaf_hash = sha256('\x00'::bytea || leaf))
);
CREATE INDEX instance_log_leaves_of ON instance_log_leaves (organization_id, position DESC);
CREATE TRIGGER instance_log_leaves_never_change BEFORE UPDATE OR DELETE ON instance_log_leaves
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER instance_log_leaves_never_truncate BEFORE TRUNCATE ON instance_log_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- instance_log_tiles: its full tiles (C2SP tlog-tiles), immutable once written.
CREATE TABLE instance_log_tiles (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index  bigint   NOT NULL,
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, index)
);
CREATE TRIGGER instance_log_tiles_never_change BEFORE UPDATE OR DELETE ON instance_log_tiles
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER instance_log_tiles_never_truncate BEFORE TRUNCATE ON instance_log_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- instance_log_checkpoints: those checkpoints of the instance log that somebody outside signed, stamped or got a copy of.
CREATE TABLE instance_log_checkpoints (
    size      bigint      PRIMARY KEY,
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL
);

-- cosignatures: what a witness signed: the line that stands under the checkpoint of this size.
CREATE TABLE cosignatures (
    size    bigint      NOT NULL,
    witness text        NOT NULL,  -- name of its key
    line    text        NOT NULL,
    at      timestamptz NOT NULL,  -- the witness's own time
    PRIMARY KEY (size, witness)
);

-- witnesses: where each witness of the settings stands, and whose turn it is to ask it again.
CREATE TABLE witnesses (
    name          text        PRIMARY KEY,
    cosigned_size bigint      NOT NULL DEFAULT -1,      -- -1 = never
    cosigned_at   timestamptz NOT NULL DEFAULT 'epoch',  -- by our clock
    said_size     bigint      NOT NULL DEFAULT 0,       -- where the witness says that it stands
    failures      integer     NOT NULL DEFAULT 0,       -- in a row
    failure       text        NOT NULL DEFAULT '',
    alarm         boolean     NOT NULL DEFAULT false,   -- the witness refused because histories differ
    next_at       timestamptz NOT NULL DEFAULT 'epoch'
);

-- time_stamps: RFC 3161 answers over the text of checkpoints of the instance log.
CREATE TABLE time_stamps (
    size      bigint      NOT NULL,
    authority text        NOT NULL,
    at        timestamptz NOT NULL,  -- the authority's own time
    answer    bytea       NOT NULL,  -- TimeStampResp, DER
    PRIMARY KEY (size, authority)
);

-- outside_tasks: the last good and the last failed try of what is done beside the log: time stamps, publishing.
CREATE TABLE outside_tasks (
    name     text        PRIMARY KEY,
    done_at  timestamptz NOT NULL DEFAULT 'epoch',
    done     text        NOT NULL DEFAULT '',
    next_at  timestamptz NOT NULL DEFAULT 'epoch',
    failures integer     NOT NULL DEFAULT 0,
    failure  text        NOT NULL DEFAULT ''
);

GRANT SELECT ON instance_log_head, instance_log_leaves, instance_log_tiles, instance_log_checkpoints, cosignatures, witnesses,
    time_stamps, outside_tasks TO tallystick_reader, tallystick_writer, tallystick_keeper;
GRANT INSERT ON instance_log_head, instance_log_leaves, instance_log_tiles, instance_log_checkpoints, cosignatures, witnesses,
    time_stamps, outside_tasks TO tallystick_writer;
GRANT UPDATE ON instance_log_head, cosignatures, witnesses, outside_tasks TO tallystick_writer;
