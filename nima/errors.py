"""Defines the base of all errors of `nima`. Each message says what is wrong, where, and what the user can do."""


class NimaError(Exception):
    """Base of all errors that bad input causes, and not a fault of the program."""
