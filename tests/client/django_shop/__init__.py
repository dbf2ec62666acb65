"""An application of a Django project, for the tests."""
