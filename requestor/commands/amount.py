"""The type of options that take money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from requestor.budget import parse_glm


class Amount(click.ParamType):  # type: ignore[type-arg]  # generic in click's newer releases only
    """An amount of GLM, exactly."""

    name = "GLM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        return value if isinstance(value, Decimal) else parse_glm(str(value))
