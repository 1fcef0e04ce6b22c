"""Decides a provider's answer to a demand, in pure functions: counter, reject, or silence.

The rules are those of Golem's provider agent (yagna `agent/provider/src/market/negotiator/builtin`). Its components run
in random order and the first rejection decides. Here the order is fixed, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from requestor.golem import property_names

Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Terms:
    """Holds the limits with which a provider negotiates. Times are in seconds.

    The defaults are those of Golem's provider agent.
    """

    min_expiration: float = 5 * 60
    max_expiration: float = 100 * 365.25 * 86400
    max_expiration_without_debit_notes: float = 30 * 60
    accept_timeout: int = 240
    min_accept_timeout: int = 5
    debit_note_interval: int = 120
    payment_timeout: int = 120
    min_payment_interval: int = 1  # lower limit of the debit-note interval and of the payment timeout
    max_payment_interval: int = 24 * 3600
    payment_timeout_required_from: float = 10 * 3600
    max_agreements: int = 1

    def offered(self) -> dict[str, int]:
        """Returns the negotiable properties of the first offer."""
        return {
            property_names.ACCEPT_TIMEOUT: self.accept_timeout,
            property_names.DEBIT_NOTE_INTERVAL: self.debit_note_interval,
            property_names.PAYMENT_TIMEOUT: self.payment_timeout,
        }


@dataclass(frozen=True)
class Counter:
    """Answers with a counter-proposal that has these properties. If `ready`, both sides agree."""

    properties: dict[str, Any]
    ready: bool


@dataclass(frozen=True)
class Reject:
    """Answers with a refusal. After a `final` refusal, a requestor must not ask again."""

    message: str
    final: bool

    def reason(self) -> dict[str, Any]:
        """Returns the refusal as yagna's market API takes it."""
        return {"message": self.message, "golem.proposal.rejection.is-final": self.final}


@dataclass(frozen=True)
class Silence:
    """Gives no answer, because the demand is malformed: a provider only writes the reason to its log."""

    reason: str


Answer = Counter | Reject | Silence


class _Malformed(Exception):
    pass


def negotiate(demand: Properties, offer: Properties, terms: Terms, now: float, agreements: int = 0) -> Answer:
    """Returns the answer to `demand` at `now` (Unix seconds) of a provider that runs `agreements` agreements.

    `offer` is the provider's previous proposal in this negotiation: at first its own offer.
    """
    properties = dict(offer)
    ready = True
    try:
        for rule in _RULES:
            outcome = rule(demand, properties, terms, now, agreements)
            if isinstance(outcome, Reject):
                return outcome
            properties, ready = outcome, ready and outcome == properties
    except _Malformed as malformed:
        return Silence(str(malformed))
    return Counter(properties, ready)


def review(demand: Properties, offer: Properties, terms: Terms, now: float, agreements: int = 0) -> Answer:
    """Returns the answer to an agreement proposal, by the rules of `negotiate`.

    The answer is a `Counter`, which means approval, only if nothing is left to negotiate.
    """
    answer = negotiate(demand, offer, terms, now, agreements)
    if isinstance(answer, Counter) and not answer.ready:
        return Reject("Negotiations aren't finished.", final=False)
    return answer


def _validation(demand: Properties, offer: dict[str, Any], *_: Any) -> dict[str, Any] | Reject:
    if property_names.CHOSEN_PLATFORM not in demand:
        return Reject("Missing fields: /" + property_names.CHOSEN_PLATFORM.replace(".", "/"), final=False)
    return offer


def _capacity(
    demand: Properties, offer: dict[str, Any], terms: Terms, now: float, agreements: int
) -> dict[str, Any] | Reject:
    if agreements >= terms.max_agreements:
        message = f"No capacity available. Reached Agreements limit: {terms.max_agreements}"
        return Reject(message, final=False)
    return offer


def _expiration(
    demand: Properties, offer: dict[str, Any], terms: Terms, now: float, agreements: int
) -> dict[str, Any] | Reject:
    asked, offered = _seconds(demand, property_names.ACCEPT_TIMEOUT), _seconds(offer, property_names.ACCEPT_TIMEOUT)
    expires = _expires(demand)
    longest = terms.max_expiration_without_debit_notes if asked is None else terms.max_expiration
    if not now + terms.min_expiration <= expires <= now + longest:
        message = (
            f"Proposal expires at: {_date(expires)} which is less than {_duration(terms.min_expiration)} "
            f"or more than {_duration(longest)} from now"
        )
        return Reject(message, final=expires < now + terms.min_expiration)
    if asked is None:
        return _without(offer, property_names.ACCEPT_TIMEOUT)
    if offered is None:
        raise _Malformed(f"the demand sets {property_names.ACCEPT_TIMEOUT}, which was dropped before")
    if asked > offered:
        limit = _duration(terms.accept_timeout)
        return Reject(f"DebitNote acceptance deadline should be less than {limit}.", final=True)
    if asked < min(terms.min_accept_timeout, offered):
        return Reject(f"To low DebitNotes timeout: {_duration(asked)}", final=True)
    return {**offer, property_names.ACCEPT_TIMEOUT: asked}


def _interval(
    demand: Properties, offer: dict[str, Any], terms: Terms, now: float, agreements: int
) -> dict[str, Any] | Reject:
    return _adopt(demand, offer, terms, property_names.DEBIT_NOTE_INTERVAL, "DebitNote interval")


def _payment(
    demand: Properties, offer: dict[str, Any], terms: Terms, now: float, agreements: int
) -> dict[str, Any] | Reject:
    expires = _expires(demand)
    if expires <= now:
        return Reject("Computation expiration time was set in the past", final=True)
    if property_names.PAYMENT_TIMEOUT not in demand and expires - now >= terms.payment_timeout_required_from:
        message = (
            f"Expiration time {_date(expires)} exceeds the {_duration(terms.payment_timeout_required_from)} "
            "threshold of enforcing mid-agreement payments "
            f"but the required property '{property_names.PAYMENT_TIMEOUT}' was not present in the Demand"
        )
        return Reject(message, final=True)
    return _adopt(demand, offer, terms, property_names.PAYMENT_TIMEOUT, "DebitNote payment timeout")


def _price(
    demand: Properties, offer: dict[str, Any], terms: Terms, now: float, agreements: int
) -> dict[str, Any] | Reject:
    asked, offered = _numbers(demand.get(property_names.PRICES)), _numbers(offer.get(property_names.PRICES))
    if asked is None or offered is None or asked == offered:
        return offer
    if len(asked) != len(offered):
        return Reject("invalid price vector", final=False)
    if any(theirs < ours for theirs, ours in zip(asked, offered, strict=True)):
        return Reject(f"{asked} < {offered}", final=True)
    return {**offer, property_names.PRICES: asked}


_RULES: tuple[Callable[..., dict[str, Any] | Reject], ...] = (
    _validation,
    _capacity,
    _expiration,
    _interval,
    _payment,
    _price,
)


def _adopt(demand: Properties, offer: dict[str, Any], terms: Terms, key: str, name: str) -> dict[str, Any] | Reject:
    """Takes over the demand's value of `key` if it is in range; removes the key if the demand does not have it."""
    asked = _seconds(demand, key)
    if asked is None:
        return _without(offer, key)
    if key not in offer:
        raise _Malformed(f"{name} not found in the Offer")
    if not terms.min_payment_interval <= asked <= terms.max_payment_interval:
        low, high = _duration(terms.min_payment_interval), _duration(terms.max_payment_interval)
        message = f"Demand {name} {_duration(asked)} not in acceptable range of [{low}; {high}]"
        return Reject(message, final=True)
    return {**offer, key: asked}


def _without(offer: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in offer.items() if name != key}


def _seconds(properties: Properties, key: str) -> int | None:
    value = properties.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise _Malformed(f"{key} is {value!r}, not a number of seconds")
    return value


def _expires(demand: Properties) -> float:
    value = demand.get(property_names.EXPIRATION)
    if value is None:
        raise _Malformed("Missing expiration key in Proposal")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Malformed(f"{property_names.EXPIRATION} is {value!r}, not a time in milliseconds")
    return value / 1000


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or not all(
        isinstance(item, int | float) and not isinstance(item, bool) for item in value
    ):
        return None
    return [float(item) for item in value]


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        raise _Malformed(f"{property_names.EXPIRATION} is {seconds * 1000:.0f}, which is no date") from None


def _duration(seconds: float) -> str:
    """Writes a duration as the provider agent prints it: 1800 → `30m`, 90 → `1m 30s`."""
    rest, parts = int(seconds), []
    for size, unit in ((31557600, "years"), (86400, "days"), (3600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
