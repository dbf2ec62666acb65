"""PostgreSQL: the only room that knows SQL and the driver; read schema.sql first."""
