"""The image that providers run: builds it, converts it to Golem's format, inspects, verifies and pushes it."""
