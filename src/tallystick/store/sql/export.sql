-- Parameters are named, `:name`; store/statement.py numbers them. `{matching}` is that of search.sql.

-- months --
-- When each month of a log begins and at which position, oldest first.
SELECT month, first_position FROM log_months WHERE organization_id = $1 ORDER BY month

-- span --
-- The first and last position of the rows received in one month that occurred within a time range.
SELECT min(a.position) AS first, max(a.position) AS last FROM audit_logs a
WHERE a.organization_id = $1 AND a.received_at >= $2 AND a.received_at < $3
    AND a.occurred_at >= $4 AND a.occurred_at < $5 AND a.position < $6

-- chunk --
-- The rows of some positions in order, as many as fit into a number of bytes but at least one; in full where they
-- match, else only the leaf hash. The months say which partitions can hold them.
SELECT c.position, c.leaf_hash, c.leaf, c.opening, c.seed FROM (
    SELECT a.position, a.leaf_hash,
        CASE WHEN f.is_full THEN a.leaf END AS leaf,
        CASE WHEN f.is_full THEN a.opening END AS opening,
        CASE WHEN f.is_full THEN a.seed END AS seed,
        sum(CASE WHEN f.is_full THEN octet_length(a.leaf) + octet_length(a.opening) ELSE 0 END)
            OVER (ORDER BY a.position ROWS UNBOUNDED PRECEDING) AS bytes,
        row_number() OVER (ORDER BY a.position) AS place
    FROM audit_logs a, LATERAL (
        SELECT NOT :nothing::boolean AND a.occurred_at >= :since AND a.occurred_at < :until
            AND coalesce({matching}, false) AS is_full OFFSET 0
    ) f
    WHERE a.organization_id = :organization AND a.position >= :first AND a.position < :end
        AND a.received_at >= coalesce((SELECT max(m.month) FROM log_months m
            WHERE m.organization_id = :organization AND m.first_position <= :first), '-infinity')
        AND a.received_at < coalesce((SELECT min(m.month) FROM log_months m
            WHERE m.organization_id = :organization AND m.first_position >= :end), 'infinity')
    ORDER BY a.position
) c WHERE c.bytes <= :bytes_max OR c.place = 1
ORDER BY c.position
