"""HTTP: routes, guard, and the shapes that leave and enter; knows services, never the store."""
