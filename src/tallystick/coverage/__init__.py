"""Which parts of an application can never leave an event: its routes, models and permissions, asked and watched."""
