"""Finds the models that this user has trained or imported under a name, beside the published ones."""

from __future__ import annotations

import re
from pathlib import Path

from nima.safe_io import data_folder

TASTE = "taste"
"""The name of the model of this user's own taste."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def own_model_path(name: str) -> Path:
    """Returns the path of this user's own model of that name, which need not exist."""
    return data_folder() / "models" / f"{name}.safetensors"


def own_models() -> dict[str, Path]:
    """Returns the user's own models that exist, by their names, in the order of these."""
    paths = (data_folder() / "models").glob("*.safetensors")
    return {path.stem: path for path in sorted(paths) if is_model_name(path.stem)}


def is_model_name(name: str) -> bool:
    """Returns True if a model can be called so: up to 64 lower-case letters, digits, dots, hyphens and underscores."""
    return _NAME.fullmatch(name) is not None
