"""Reads JSON from strangers strictly: unknown, missing or repeated keys, wrong types and NaN raise `FormatError`.

This module needs the standard library only, and does not import torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, Literal

from nima.errors import NimaError
from nima.safe_io.text import one_line


class FormatError(NimaError):
    """A JSON text, or a value read from one, breaks a rule; the message names the key and the rule."""


def parse_json_object(text: str) -> dict[str, Any]:
    """Parses a JSON text to the object that it holds.

    Raises `FormatError` if it holds another JSON value, a key twice, or a number such as NaN; `ValueError` or
    `RecursionError` if it is not JSON.
    """
    data = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    if not isinstance(data, dict):
        raise FormatError("not an object")
    return data


def build_dataclass(cls: type[Any], data: dict[str, Any]) -> Any:
    """Makes an instance of the dataclass `cls` from `data`; keys of fields that have a default may be missing.

    Raises `FormatError` if a key is unknown or missing, and the errors of the class itself.
    """
    known = {f.name for f in dataclasses.fields(cls)}
    required = {
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    for problem, names in (("unknown", data.keys() - known), ("missing", required - data.keys())):
        if names:
            raise FormatError(f"{problem} key {one_line(min(names))!r}")
    return cls(**data)


def require(holds: bool, message: str) -> None:
    """Raises `FormatError` with `message` unless `holds`."""
    if not holds:
        raise FormatError(message)


def check_types(instance: Any) -> None:
    """Checks the type of every field of a dataclass against its annotation; raises `FormatError` if one is wrong.

    A whole number is accepted as a float, because JSON may write it so. NaN and infinity are not accepted.
    """
    for name, hint in typing.get_type_hints(type(instance)).items():
        value = getattr(instance, name)
        if not _is_a(value, hint):
            raise FormatError(f"{name} has the wrong type {type(value).__name__}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises `FormatError`, naming the field, unless low ≤ value ≤ high."""
    require(low <= value <= high, f"{name} must lie between {low} and {high}")


def _no_constant(name: str) -> float:
    raise FormatError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise FormatError("a key stands twice")
    return data


def _is_a(value: object, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_a(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _is_a(k, arguments[0]) and _is_a(v, arguments[1]) for k, v in value.items()
        )
    if hint is float:  # JSON writes 1.0 as 1 in some languages; a bool is an int in Python
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
