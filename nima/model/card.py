"""Writes the model card: one page of Markdown that describes a model, made from the metadata of the model.

Source: Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nima.ava import Dataset
from nima.ratings import metric_rows
from nima.safe_io import one_line

_TASTE = (
    "It predicts how {raters} would rate a photo. That is taste, not quality: other people, other times and other "
    "purposes rate otherwise."
)
_DRAWN = (
    "A program drew and rated the photos that it learnt from. It has learnt nothing about people's taste: it shows how "
    "training works, and its scores of photos mean nothing."
)
_LIMITS = (
    "Scores gather around the middle. Read the percentile, and compare photos with each other, not with an absolute "
    "mark.",
    "The whole frame is squeezed to a small square: it cannot see whether a large print would be sharp, and it does "
    "not know what a photo is about.",
    "Small differences in score mean nothing: two groups of raters do not agree about them either (the means of two "
    "groups of AVA's raters have an SRCC of 0.96).",
)


# Each fact's key in the metadata, and its name on the card.
_FACTS = (
    ("backbone", "Backbone"),
    ("data", "Data"),
    ("train_images", "Photos trained on"),
    ("starting_weights", "Starting weights"),
    ("starting_weights_source", "Source of the starting weights"),
    ("starting_weights_sha256", "SHA-256 of the starting weights"),
    ("licence", "Licence of the starting weights"),
    ("strategy", "Strategy"),
    ("rounds", "Federated rounds"),
    ("best_round", "Round that was kept"),
    ("backend", "Trained on"),
    ("seed", "Seed"),
    ("spent_glm", "Cost, GLM"),
    ("source", "Source"),
)


def model_limits(metadata: Mapping[str, Any]) -> list[str]:
    """Returns sentences about what a model cannot do; `metadata` are those of its checkpoint, as for `model_card`."""
    dataset = Dataset.of_model(metadata)
    return [_DRAWN if dataset.drawn else _TASTE.format(raters=dataset.raters), *_LIMITS]


def card_facts(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the facts of a model's training that the card lists, as (name, value).

    Args:
        metadata: metadata of a checkpoint, as for `model_card`; facts that are missing are left out.
    """
    facts = [(name, str(metadata[key])) for key, name in _FACTS if key in metadata]
    if "dataset" in metadata:
        dataset = Dataset.of_model(metadata)
        facts.append(("Rated by", dataset.raters))
        facts.append(("Licence of the photos", dataset.licence + (", not to be published" if dataset.private else "")))
    return facts


def model_card(metadata: Mapping[str, Any]) -> str:
    """Returns the card of a model as Markdown.

    Args:
        metadata: metadata of a checkpoint. All keys are optional: `name`; the keys of `_FACTS`; `dataset`, which
            `nima.ava.Dataset.as_json` returns; `split` (`name`, `hash`); `providers` (a list with `name`, `tasks`,
            `paid_glm`); `metrics` and `intervals`, which `nima.ratings.Metrics.as_dict` and
            `nima.ratings.RatingPairs.intervals` return. If the split or the metrics are missing, the card tells that.

    Example:
        >>> print(model_card({"name": "trees", "seed": 7})[:47])
        # trees
        <BLANKLINE>
        Predicts how people would rate a photo
    """
    return "\n".join(_lines(metadata)) + "\n"


def _lines(metadata: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_inline(metadata.get('name', 'NIMA model'))}"
    yield ""
    raters = "the program that drew its training photos" if Dataset.of_model(metadata).drawn else "people"
    yield f"Predicts how {raters} would rate a photo: the probability of each rating from 1 to 10"
    yield "(NIMA, Neural Image Assessment, Talebi and Milanfar, 2017)."
    yield ""
    yield "## Training"
    yield ""
    for name, value in card_facts(metadata):
        yield f"- {name}: {_inline(value)}"
    split = metadata.get("split")
    yield (
        f"- Split: {_inline(split['name'])}, test ids with the SHA-256 `{_inline(split['hash'])}`"
        if split
        else ("- Split: not recorded")
    )
    yield ""
    yield from _providers(metadata.get("providers") or [])
    yield from _metrics(metadata.get("metrics"), metadata.get("intervals") or {}, metadata.get("audited"))
    yield "## Limits"
    yield ""
    for limit in model_limits(metadata):
        yield f"- {limit}"


def _providers(providers: list[Mapping[str, Any]]) -> Iterator[str]:
    if not providers:
        return
    yield "## Providers"
    yield ""
    yield "| provider | tasks | paid, GLM |"
    yield "|---|---|---|"
    for provider in providers:
        cells = (provider.get(key, "–") for key in ("name", "tasks", "paid_glm"))
        yield f"| {' | '.join(_inline(cell) for cell in cells)} |"
    yield ""


def _metrics(
    metrics: Mapping[str, float] | None, intervals: Mapping[str, tuple[float, float]], audited: int | None
) -> Iterator[str]:
    yield "## Metrics"
    yield ""
    if not metrics:
        yield "Not evaluated."
        yield ""
        return
    photos = f"{metrics['n']:,} test photos" if "n" in metrics else "test photos"
    yield f"On {photos}, beside what always predicting their average distribution would get."
    if audited is not None:
        yield f"{audited:,} of these predictions were computed again on the requestor's own machine, and found equal."
    yield ""
    yield "| metric | model | 95% interval | constant |"
    yield "|---|---|---|---|"
    for row in metric_rows(metrics, intervals):
        beside = "–" if row.constant is None else f"{row.constant:.4f}"
        yield f"| {row.name} | {row.model:.4f} | {row.interval()} | {beside} |"
    yield ""


def _inline(value: object) -> str:
    """Returns a value as one line of Markdown without markup, because providers choose their own names."""
    text = one_line(str(value))
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text
