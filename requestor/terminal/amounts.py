"""Parses options for amounts of money, and asks before real money is spent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from requestor.golem import is_real_money
from requestor.money import parse_glm, show_glm


class GlmAmount(click.ParamType):  # type: ignore[type-arg]  # generic in click's newer releases only
    """Parses an option's value as an exact amount of GLM."""

    name = "GLM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        return value if isinstance(value, Decimal) else parse_glm(str(value))


def confirm_real_money(network: str, budget: Decimal) -> None:
    """Asks the user before real money is spent; on a test network, does nothing.

    Raises click.Abort unless the answer is yes.

    Args:
        network: payment network.
        budget: the most GLM that may be spent.
    """
    if is_real_money(network):
        question = f"This may spend up to {show_glm(budget)} of real money on {network}. Continue?"
        click.confirm(question, abort=True, err=True)
