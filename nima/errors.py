"""Defines the base of all errors of `nima`. Each message tells what is wrong, where, and what the user can do."""


class NimaError(Exception):
    """The base of all errors that are caused by wrong input, and not by a fault of the program."""
