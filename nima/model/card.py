"""Writes the model card: one page of Markdown that describes a model, made from the metadata of the model.

Sources: Mitchell et al., "Model Cards for Model Reporting", 2019; of the front matter, the Hugging Face Hub's page
"Model Cards" (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
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


_MOST_DIGITS = 30  # before or behind the point, of an amount that is written in plain digits

# Metric of `nima.ratings.Metrics` → the Hub's id of its kind, and its name for people.
_METRICS = {
    "srcc_mean": ("spearmanr", "SRCC of the mean"),
    "lcc_mean": ("pearsonr", "LCC of the mean"),
    "srcc_std": ("spearmanr", "SRCC of the spread"),
    "lcc_std": ("pearsonr", "LCC of the spread"),
    "emd_r1": ("emd", "EMD, r = 1"),
    "accuracy": ("accuracy", "Accuracy at 5"),
}
_LICENCES = ("apache-2.0", "bsd-3-clause", "mit")  # of the weights to start from, as the Hub spells them
_TASK = {"type": "image-classification", "name": "Aesthetic quality assessment"}
_NO_ID = re.compile(r"[^\w.-]+", re.ASCII)

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
    if "spent_glm" in metadata:
        facts.append(("Cost, GLM", _four_digits(metadata["spent_glm"])))
    if "dataset" in metadata:
        dataset = Dataset.of_model(metadata)
        facts.append(("Rated by", dataset.raters))
        facts.append(("Licence of the photos", dataset.licence + (", not to be published" if dataset.private else "")))
    return facts


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Returns the card's front matter for the Hugging Face Hub: YAML between two lines `---`.

    Each value is written as JSON, which is also YAML, so that no name can break out of its place.

    Args:
        metadata: metadata of a checkpoint, as for `model_card`. A fact that is missing is left out; the
            licence is then "other".

    Example:
        >>> print(front_matter({"name": "trees", "licence": "MIT", "starting_weights": "resnet18-imagenet"}))
        ---
        license: "mit"
        library_name: "nima-golem"
        pipeline_tag: "image-classification"
        tags: ["nima", "image-aesthetics", "golem"]
        base_model: "resnet18-imagenet"
        ---
        <BLANKLINE>
    """
    licence = str(metadata.get("licence", "")).lower()
    fields: dict[str, Any] = {
        "license": licence if licence in _LICENCES else "other",
        "library_name": "nima-golem",
        "pipeline_tag": _TASK["type"],
        "tags": ["nima", "image-aesthetics", "golem"],
    }
    if base := _identifier(metadata.get("starting_weights", "")):
        fields["base_model"] = base
    dataset = Dataset.of_model(metadata)
    if ("dataset" in metadata or "data" in metadata) and not dataset.private:
        fields["datasets"] = [_identifier(dataset.name)]
    if figures := metadata.get("metrics"):
        results = [
            {"type": kind, "name": name, "value": round(figures[key], 4)}
            for key, (kind, name) in _METRICS.items()
            if key in figures
        ]
        split = metadata.get("split") or {}
        data = {"type": _identifier(dataset.name), "name": dataset.name, "split": split.get("name", "test")}
        fields["metrics"] = sorted({result["type"] for result in results})
        fields["model-index"] = [
            {
                "name": metadata.get("name", "NIMA model"),
                "results": [{"task": _TASK, "dataset": data, "metrics": results}],
            }
        ]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def model_card(metadata: Mapping[str, Any]) -> str:
    """Returns the card of a model as Markdown.

    Args:
        metadata: metadata of a checkpoint. All keys are optional: `name`; the keys of `_FACTS`; `dataset`, which
            `nima.ava.Dataset.as_json` returns; `split` (`name`, `hash`); `providers` (a list with `name`, `tasks`,
            `paid_glm`); `metrics` and `intervals`, which `nima.ratings.Metrics.as_dict` and
            `nima.ratings.RatingPairs.intervals` return; `cross_validation` (`folds`, and again `metrics` and
            `intervals`). If the split or the metrics are missing, the card tells that.

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
    yield "## Use"
    yield ""
    yield "    nima-golem score photo.jpg --model model.safetensors"
    yield ""
    yield "or, in Python, with the package `nima-golem`:"
    yield ""
    yield "    from nima import Scorer"
    yield '    for score in Scorer("model.safetensors").score(["photo.jpg"]):'
    yield "        print(score.aesthetic_score, score.percentile)"
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
    yield from _validation(metadata.get("cross_validation"))
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
        paid = _four_digits(provider["paid_glm"]) if "paid_glm" in provider else "–"
        cells = (provider.get("name", "–"), provider.get("tasks", "–"), paid)
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
    yield from _table(metrics, intervals)


def _validation(validation: Mapping[str, Any] | None) -> Iterator[str]:
    if not validation:
        return
    photos = f"{validation['metrics']['n']:,} photos" if "n" in validation["metrics"] else "photos"
    yield f"So few test photos say little. In a cross-validation with {validation['folds']} folds, all {photos} were"
    yield "predicted, each by a head that was trained without its fold on the features of the starting weights:"
    yield ""
    yield from _table(validation["metrics"], validation["intervals"])


def _table(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    yield "| metric | model | 95% interval | constant |"
    yield "|---|---|---|---|"
    for row in metric_rows(metrics, intervals):
        beside = "–" if row.constant is None else f"{row.constant:.4f}"
        yield f"| {row.name} | {row.model:.4f} | {row.interval()} | {beside} |"
    yield ""


def _four_digits(amount: object) -> str:
    """Returns an amount of GLM with four significant digits; a text that is no amount as it is."""
    try:
        number = Decimal(str(amount))
    except InvalidOperation:
        return str(amount)
    if not number.is_finite() or number == 0 or abs(number.adjusted()) > _MOST_DIGITS:
        return "0" if number == 0 else str(amount)
    digits = max(0, 3 - number.adjusted())
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _inline(value: object) -> str:
    """Returns a value as one line of Markdown without markup, because providers choose their own names."""
    text = one_line(str(value))
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text


def _identifier(name: str) -> str:
    """Returns a name as an id of the Hub: letters of ASCII, digits, dots, dashes; empty if nothing of it is left."""
    return _NO_ID.sub("-", name).strip("-.")[:96]
