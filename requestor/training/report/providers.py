"""Lists the providers of a run: their speeds, costs and verdicts.

Names and reasons come from providers. They are reduced to one printable line here, and escaped by the template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

from nima.safe_io import one_line
from requestor.golem import SHOWN_ID_LENGTH, display_name
from requestor.money import SECONDS_AN_HOUR, Price, show_glm
from requestor.records import HireTerms, OutcomeEntry, RunRecord

NOBODY = "nobody"


@dataclass(frozen=True)
class Judged:
    """One outcome of a task, with its verdict.

    round: number of the round.
    provider: name of the provider for people.
    kind: kind of the verdict, as in `requestor.training.providers.verdict`.
    reason: sentence of the verdict for people, on one line.
    """

    round: int
    provider: str
    kind: str
    reason: str

    @property
    def group(self) -> str:
        """Returns the group that decides how the outcome is drawn."""
        return {"admitted": "admitted", "no update": "missing"}.get(self.kind, "refused")


@dataclass
class ProviderRow:
    """One provider, for the table of the report.

    Attributes:
        name, provider_id: the provider's name for people, and its id.
        agreements, tasks, paid: numbers of agreements and tasks, and GLM paid, as on the provider's receipt. It counts
            tasks of the evaluation, too; local workers have no receipt before the run ends.
        rejected: GLM of the provider's rejected bills.
        open_bills, settled, too_small: as on the provider's receipt.
        hire: the terms of its last agreement; None for local workers.
        judged: its outcomes, in order.
        samples, seconds: number of samples and seconds of work, summed over its admitted updates.
    """

    name: str
    provider_id: str
    agreements: int = 0
    tasks: int = 0
    paid: Decimal = Decimal(0)
    rejected: Decimal = Decimal(0)
    open_bills: int = 0
    settled: Decimal = Decimal(0)
    too_small: Decimal = Decimal(0)
    hire: HireTerms | None = None
    judged: list[Judged] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0

    @property
    def speed(self) -> float | None:
        """Returns the samples a second, transfers included; None before the first admitted update."""
        return self.samples / self.seconds if self.seconds > 0 else None

    @property
    def hour(self) -> Decimal | None:
        """Returns the GLM for an hour at full load, without the start fee; None for local workers."""
        if self.hire is None:
            return None
        price = Price.from_text(self.hire.price)
        return price.at_full_load(SECONDS_AN_HOUR, self.hire.threads) - price.start

    @property
    def details(self) -> str:
        """Returns further facts about the provider, on one line."""
        known = [] if self.provider_id == self.name else [one_line(self.provider_id)[:SHOWN_ID_LENGTH]]
        known += [_counted(self.tasks, "task")] if self.tasks else []
        known += [_counted(self.hire.threads, "thread")] if self.hire else []
        known += [f"bill of {show_glm(self.rejected)} rejected"] if self.rejected else []
        known += [f"{show_glm(self.settled)} paid"] if self.settled else []
        known += [f"{show_glm(self.too_small)} too small to be sent"] if self.too_small else []
        known += [f"{_counted(self.open_bills, 'bill')} still open"] if self.open_bills else []
        return " · ".join(known)

    @property
    def admitted(self) -> int:
        """Returns the number of its outcomes that were admitted."""
        return sum(judged.group == "admitted" for judged in self.judged)


def provider_rows(record: RunRecord) -> list[ProviderRow]:
    """Returns a row for every provider that was paid or sent a result: the best paid first, then by name."""
    rows: dict[str, ProviderRow] = {}
    for receipt in record.receipts:
        rows[receipt.provider_id] = ProviderRow(
            _name(receipt.name, receipt.provider_id),
            receipt.provider_id,
            receipt.agreements,
            receipt.tasks,
            receipt.paid_glm,
            open_bills=receipt.open_bills,
            settled=receipt.settled_glm,
            too_small=receipt.too_small_glm,
        )
    for number, update in _updates(record):
        if update.provider_id is None:
            continue
        name = _name(update.provider, update.provider_id)
        row = rows.setdefault(update.provider_id, ProviderRow(name, update.provider_id))
        row.judged.append(_judged(number, update))
        if update.admitted and update.samples:
            row.samples += update.samples
            row.seconds += update.seconds
    for provider_id, row in rows.items():
        row.hire = record.hires.get(provider_id)
        row.rejected = record.rejected.get(provider_id, Decimal(0))
    return sorted(rows.values(), key=lambda row: (-row.paid, row.name))


def refusals(record: RunRecord) -> list[tuple[Judged, int]]:
    """Returns the outcomes that were not admitted, newest first, each with the number of equal ones."""
    judged = [_judged(number, update) for number, update in _updates(record) if not update.admitted]
    return list(Counter(reversed(judged)).items())


def _updates(record: RunRecord) -> Iterator[tuple[int, OutcomeEntry]]:
    for attempt in record.attempts:
        for update in attempt.updates:
            yield attempt.round, update


def _judged(number: int, update: OutcomeEntry) -> Judged:
    return Judged(number, _name(update.provider, update.provider_id), update.kind, _line(update.verdict))


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@cache
def _line(text: str) -> str:
    """Reduces a text to one line; results are cached, because a long run repeats the same texts thousands of times."""
    return one_line(text)


@cache
def _name(name: str | None, provider_id: str | None) -> str:
    return NOBODY if provider_id is None else display_name(name, provider_id)
