-- look_up_subjects --
-- The same outside any transaction: the function says itself whose rows it may see.
SELECT type, id, ref FROM find_subjects($1, $2, $3, $4)

-- find_subjects --
-- The refs of these subjects, as far as they are known.
SELECT s.type, s.id, s.ref
FROM unnest($2::text[], $3::text[]) AS n (type, id)
JOIN subjects s ON s.organization_id = $1 AND s.type = n.type AND s.id = n.id
