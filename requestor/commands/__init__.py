"""Holds one module a command: parses the options, calls one face, prints."""
