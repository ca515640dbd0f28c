"""What the fields of a scenario's models say of themselves: the text below each field in the source.

Read from the source when somebody asks (the schema, `--help`, the page's forms), so that reading a scenario costs
nothing of it. Must not know who asks.
"""

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel

__all__ = ["field_docs"]


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The text of each field of `model` by the field's name, its own or of the class that it has it from; fields
    without a text are left out."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _of_class(base)
    found |= {name: info.description for name, info in model.model_fields.items() if info.description}
    return {name: text for name, text in found.items() if name in model.model_fields}


@cache
def _of_class(kind: type) -> dict[str, str]:
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # made at run time, or a program without its sources
        return {}
    body = ast.parse(textwrap.dedent(source)).body[0]
    found: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for field, below in zip(body.body, body.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = inspect.cleandoc(str(below.value.value))
    return found
