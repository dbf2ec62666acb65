-- claim --
-- Take the turn of a witness whose moment came, until $3; nothing when another server has it or it is too early.
INSERT INTO witnesses AS w (name, next_at) VALUES ($1, $3)
ON CONFLICT (name) DO UPDATE SET next_at = $3 WHERE w.next_at <= $2
RETURNING w.name, w.cosigned_size, w.cosigned_at, w.said_size, w.failures, w.failure, w.alarm, w.next_at

-- standings --
-- Where every witness stands.
SELECT name, cosigned_size, cosigned_at, said_size, failures, failure, alarm, next_at FROM witnesses ORDER BY name

-- succeeded --
-- A witness cosigned a size; its answer came at $3.
UPDATE witnesses SET cosigned_size = $2, cosigned_at = $3, said_size = $2, failures = 0, failure = '', alarm = false,
    next_at = $4 WHERE name = $1

-- failed --
-- A witness did not cosign, and why.
UPDATE witnesses SET said_size = $2, failures = failures + 1, failure = $3, alarm = $4, next_at = $5 WHERE name = $1

-- keep_cosignature --
-- The newest line of a witness for a size.
INSERT INTO cosignatures AS c (size, witness, line, at) VALUES ($1, $2, $3, $4)
ON CONFLICT (size, witness) DO UPDATE SET line = excluded.line, at = excluded.at WHERE c.at < excluded.at

-- cosignatures --
-- All lines for one size.
SELECT witness, line, at FROM cosignatures WHERE size = $1 ORDER BY witness

-- cosigned_sizes --
-- The newest cosigned sizes and by whom.
SELECT size, array_agg(witness ORDER BY witness) AS witnesses, max(at) AS at FROM cosignatures
GROUP BY size ORDER BY size DESC LIMIT $1

-- stamps --
-- The newest time stamps.
SELECT size, authority, at, answer FROM time_stamps ORDER BY size DESC, authority LIMIT $1

-- keep_stamp --
-- A time stamp over a checkpoint.
INSERT INTO time_stamps (size, authority, at, answer) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- claim_task --
-- Take the turn of a task whose moment came, until $3; nothing when another server has it or it is too early.
INSERT INTO outside_tasks AS t (name, next_at) VALUES ($1, $3)
ON CONFLICT (name) DO UPDATE SET next_at = $3 WHERE t.next_at <= $2
RETURNING t.name, t.done_at, t.done, t.next_at, t.failures, t.failure

-- task --
-- How a task stands.
SELECT name, done_at, done, next_at, failures, failure FROM outside_tasks WHERE name = $1

-- task_done --
-- A task went well at $2, in words $3; it is due again at $4.
UPDATE outside_tasks SET done_at = $2, done = $3, next_at = $4, failures = 0, failure = '' WHERE name = $1

-- task_failed --
-- A task failed, and why; it is tried again at $3.
UPDATE outside_tasks SET failures = failures + 1, failure = $2, next_at = $3 WHERE name = $1
