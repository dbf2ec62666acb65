-- insert --
-- Keep an own event that no log could take at that moment, in the transaction of what it tells of.
INSERT INTO deferred_acts (organization_id, id, source, event, made_at) VALUES ($1, $2, $3, $4, $5)

-- oldest --
-- The first ones that wait, of all organizations.
SELECT organization_id, id, source, event FROM deferred_acts ORDER BY made_at, id LIMIT $1

-- remove --
-- It is in the log now, by this transaction.
DELETE FROM deferred_acts WHERE organization_id = $1 AND id = $2
