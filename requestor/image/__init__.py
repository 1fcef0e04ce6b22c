"""The image that providers run: built, converted to Golem's format, inspected, verified, pushed."""
