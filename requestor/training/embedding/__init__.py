"""Collects the features that providers compute, and trains the head on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.training.embedding.collection import EmbeddingInputs, embed_and_train
    from requestor.training.embedding.cross_validation import FOLDS, LEAST_TEST, cross_validate
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "collection": ["EmbeddingInputs", "embed_and_train"],
            "cross_validation": ["FOLDS", "LEAST_TEST", "cross_validate"],
        },
    )

__all__ = ["FOLDS", "LEAST_TEST", "EmbeddingInputs", "cross_validate", "embed_and_train"]
