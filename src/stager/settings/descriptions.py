"""Descriptions of settings: the text below a field in the source of its section.

Pydantic can read them when it creates a model (`use_attribute_docstrings`), but reading and parsing the
sources takes a tenth of a second of each command, and only the reference pages and the JSON Schema need them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def descriptions(section: type[BaseModel]) -> dict[str, str]:
    """Return the descriptions of a section's fields, also of inherited ones, by field."""
    found: dict[str, str] = {}
    for each in reversed(section.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= dict(_texts(each))
    given = {name: field.description for name, field in section.model_fields.items() if field.description}
    return {name: text for name, text in {**found, **given}.items() if name in section.model_fields}


def _texts(section: type[BaseModel]) -> Iterator[tuple[str, str]]:
    try:
        source = inspect.getsource(section)
    except (OSError, TypeError):  # A model that `create_model` made has none.
        return
    defined = ast.parse(textwrap.dedent(source)).body[0]
    for field, text in pairwise(defined.body if isinstance(defined, ast.ClassDef) else ()):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, inspect.cleandoc(words)
