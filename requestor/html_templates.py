"""Loads jinja's templates of HTML pages, which are in the folder `templates` beside the module that uses them."""

from __future__ import annotations

import base64
import hashlib
import re

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


def inline_sources(page: str, tag: str) -> str:
    """Returns the sources of a content security policy that allow only those scripts or styles that are in a page.

    Args:
        page: the page's HTML, or the parts of it with the elements `<script>` or `<style>`, which have no attributes.
        tag: "script" or "style".

    Source: Content Security Policy Level 3, 2.3.1, hash-source.
    """
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents)
    return " ".join(f"'sha256-{one}'" for one in hashes)
