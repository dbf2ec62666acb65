"""The verbs: what Tallystick does, each service one of them."""
