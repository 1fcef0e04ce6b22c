"""Reads files, JSON and text from strangers within bounds, and writes our own files whole.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.safe_io import one_line, parse_json_object, read_bounded, write_atomically
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "note.json")
    >>> write_atomically(path, b'{"photos": 3}')
    >>> parse_json_object(read_bounded(path, max_bytes=100).decode())
    {'photos': 3}
    >>> folder.cleanup()
    >>> parse_json_object('{"photos": 3, "photos": 4}')
    Traceback (most recent call last):
    ...
    nima.safe_io.strict_json.FormatError: a key stands twice
    >>> one_line("a name\\nof two lines")
    'a name of two lines'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.safe_io.cache import cache_folder, config_folder, data_folder
    from nima.safe_io.files import (
        AtomicFile,
        FileError,
        atomic_file,
        check_sha256,
        check_size,
        read_bounded,
        sha256_of,
        write_atomically,
    )
    from nima.safe_io.strict_json import (
        FormatError,
        build_dataclass,
        check_range,
        check_types,
        parse_json_object,
        require,
    )
    from nima.safe_io.tensor_header import TensorHeader, read_tensor_header
    from nima.safe_io.text import MAX_TEXT_LENGTH, one_line, printable
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "cache": ["cache_folder", "config_folder", "data_folder"],
            "files": [
                "AtomicFile",
                "FileError",
                "atomic_file",
                "check_sha256",
                "check_size",
                "read_bounded",
                "sha256_of",
                "write_atomically",
            ],
            "strict_json": [
                "FormatError",
                "build_dataclass",
                "require",
                "check_range",
                "check_types",
                "parse_json_object",
            ],
            "tensor_header": ["TensorHeader", "read_tensor_header"],
            "text": ["MAX_TEXT_LENGTH", "one_line", "printable"],
        },
    )

__all__ = [
    "MAX_TEXT_LENGTH",
    "AtomicFile",
    "FileError",
    "FormatError",
    "TensorHeader",
    "atomic_file",
    "build_dataclass",
    "cache_folder",
    "check_range",
    "check_sha256",
    "check_size",
    "check_types",
    "config_folder",
    "data_folder",
    "one_line",
    "parse_json_object",
    "printable",
    "read_bounded",
    "read_tensor_header",
    "require",
    "sha256_of",
    "write_atomically",
]
