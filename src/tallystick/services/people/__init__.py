"""Who is who in an organization: members, roles, teams and workspaces, and who may change whom."""
