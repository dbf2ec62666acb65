"""Sign-in of people: passwords with a second factor, identity providers, sessions, and links that work once."""
