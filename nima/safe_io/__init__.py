"""Reads files, JSON and text from strangers within bounds, and writes our own files whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.safe_io.cache import cache_folder, data_folder
    from nima.safe_io.files import (
        AtomicFile,
        FileError,
        atomic_file,
        check_content,
        read_bounded,
        sha256_of,
        write_atomically,
    )
    from nima.safe_io.strict_json import JobError, build, check, check_range, check_types, parse_object
    from nima.safe_io.text import MAX_TEXT, one_line, printable
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "cache": ["cache_folder", "data_folder"],
            "files": [
                "AtomicFile",
                "FileError",
                "atomic_file",
                "check_content",
                "read_bounded",
                "sha256_of",
                "write_atomically",
            ],
            "strict_json": ["JobError", "build", "check", "check_range", "check_types", "parse_object"],
            "text": ["MAX_TEXT", "one_line", "printable"],
        },
    )

__all__ = [
    "MAX_TEXT",
    "AtomicFile",
    "FileError",
    "JobError",
    "atomic_file",
    "build",
    "cache_folder",
    "check",
    "check_content",
    "check_range",
    "check_types",
    "data_folder",
    "one_line",
    "parse_object",
    "printable",
    "read_bounded",
    "sha256_of",
    "write_atomically",
]
