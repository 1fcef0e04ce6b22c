"""Finds the models that this user has trained and named, beside the published ones."""

from __future__ import annotations

from pathlib import Path

from nima.safe_io import data_folder

TASTE = "taste"
"""The name of the model of this user's own taste."""


def own_model_path(name: str) -> Path:
    """Returns the path of this user's own model of that name, which need not exist."""
    return data_folder() / "models" / f"{name}.safetensors"


def own_models() -> dict[str, Path]:
    """Returns the user's own models that exist, by their names."""
    path = own_model_path(TASTE)
    return {TASTE: path} if path.is_file() else {}
