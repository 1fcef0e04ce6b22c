"""Loads jinja's templates of HTML pages, which are in the folder `templates` beside the module that uses them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates_of(package: str) -> Environment:
    """Returns jinja's environment for the templates in the folder `templates` of a package.

    Every value that is put into a page is escaped, unless it is `Markup`. If a template uses a name that it was not
    given, jinja raises `UndefinedError`.
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
