"""Draws tiny-AVA, a small replacement for the AVA data set that a program draws and rates.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.tiny_ava import draw_tiny_ava
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     drawn = draw_tiny_ava(Path(folder), images=8, seed=0)
    ...     len(list(Path(folder, "images").iterdir())), drawn.test_images
    (8, 2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.tiny_ava.drawing import TinyAva, draw_tiny_ava
else:
    __getattr__, __dir__ = attach(__name__, {"drawing": ["TinyAva", "draw_tiny_ava"]})

__all__ = ["TinyAva", "draw_tiny_ava"]
