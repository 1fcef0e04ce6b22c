"""Checks the metadata of a checkpoint, which anybody may have written, and makes its texts printable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nima.ava import Dataset
from nima.safe_io import FormatError, build_dataclass, one_line, require

_DEEPEST = 8  # number of lists and objects inside each other
_LONGEST_KEY = 100  # characters
_QUANTILES = 101  # scores below which 0, 1, …, 100 percent lie


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns metadata as they were read from a file, with each text and key as one printable line.

    Keys that are not in the schema may hold any JSON.

    Raises `FormatError` if a key of the schema has a value of another form.
    """
    cleaned: dict[str, Any] = _cleaned(metadata, 0)
    for key, holds in _SCHEMA.items():
        if key in cleaned:
            require(holds(cleaned[key]), f"the metadata have a wrong {key!r}")
    return cleaned


def _cleaned(value: Any, depth: int) -> Any:
    require(depth <= _DEEPEST, f"the metadata are nested more than {_DEEPEST} deep")
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        cleaned = {one_line(key, _LONGEST_KEY): _cleaned(item, depth + 1) for key, item in value.items()}
        if len(cleaned) != len(value):
            raise FormatError("the metadata have a key twice")
        return cleaned
    return value


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**63 and math.isfinite(value)


def _figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _intervals(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_number, pair)) for pair in value.values()
    )


def _validation(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _count(value.get("folds"))
        and _figures(value.get("metrics"))
        and _intervals(value.get("intervals"))
    )


def _split(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("name")) and _text(value.get("hash"))


def _dataset(value: Any) -> bool:
    try:
        return isinstance(value, dict) and build_dataclass(Dataset, value) is not None
    except FormatError:
        return False


def _quantiles(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _QUANTILES and all(map(_number, value)) and sorted(value) == value


def _providers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and all(not isinstance(fact, (list, dict)) for fact in one.values()) for one in value
    )


_SCHEMA: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "backbone", "data", "starting_weights", "starting_weights_source"), _text),
    **dict.fromkeys(("starting_weights_sha256", "licence", "strategy", "backend", "spent_glm", "source"), _text),
    **dict.fromkeys(("train_images", "rounds", "best_round", "seed"), _count),
    "audited": lambda value: value is None or _count(value),
    "dataset": _dataset,
    "score_quantiles": _quantiles,
    "split": _split,
    "providers": _providers,
    "metrics": _figures,
    "cross_validation": _validation,
    "intervals": _intervals,
    "history": lambda value: isinstance(value, list) and all(map(_figures, value)),
}
