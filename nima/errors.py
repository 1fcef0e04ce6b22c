"""What `nima` raises on bad input. Every message is a whole sentence for the user: what, where, and the way out."""


class NimaError(Exception):
    """Base of all errors that are the input's fault, not the program's."""
