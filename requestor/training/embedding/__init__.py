"""Collects the features that providers compute, and trains the head on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.embedding.collection import EmbeddingInputs, embed_and_train
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "collection": ["EmbeddingInputs", "embed_and_train"],
        },
    )

__all__ = ["EmbeddingInputs", "embed_and_train"]
