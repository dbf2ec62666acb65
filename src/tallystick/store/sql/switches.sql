-- merge_config --
-- Put switches into an organization's config beside those it has; the statement operators know, with a parameter.
UPDATE organizations SET config = COALESCE(config, '{}'::jsonb) || $2::jsonb WHERE id = $1
