-- checkpoints_between --
-- Retained checkpoints of sizes $2 to $3, oldest first, and how many there are; at most $4 of them, spread evenly, the last
-- one always among them.
SELECT k.note, k.total FROM (
    SELECT note, size, signed_at, count(*) OVER () AS total, row_number() OVER (ORDER BY size, signed_at) AS place
    FROM log_checkpoints WHERE organization_id = $1 AND size BETWEEN $2 AND $3
) k WHERE k.total <= $4 OR k.place * $4 / k.total <> (k.place - 1) * $4 / k.total
ORDER BY k.place

-- outside --
-- Who signed since $1 besides the log's own keys: witnesses of the instance log, and authorities of time.
SELECT (SELECT count(DISTINCT witness) FROM cosignatures WHERE at >= $1) AS witnesses,
    (SELECT max(at) FROM cosignatures WHERE at >= $1) AS witnessed_at,
    (SELECT count(DISTINCT authority) FROM time_stamps WHERE at >= $1) AS authorities,
    (SELECT max(at) FROM time_stamps WHERE at >= $1) AS stamped_at
