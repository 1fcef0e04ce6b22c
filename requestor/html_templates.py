"""Makes HTML pages from jinja's templates, which are in the folder `templates` beside the module that fills them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates_of(package: str) -> Environment:
    """Returns the environment of the templates in the folder `templates` of a package.

    Everything that is put into a page is escaped, unless it is `Markup`, and a name that is not given is an error.
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
