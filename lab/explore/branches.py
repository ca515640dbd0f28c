"""Branch coverage of the cores in a run: functions of the cores get code that counts branches. CPython only.

Each function of a core is recompiled from its source with a call at the start of every branch, and its code object is
replaced, so that all references to it run the new code. That costs a tenth of the run time; `sys.settrace` makes it
five times as long. A branch has the same number in every process. Cores compiled to machine code are not counted.
"""

import ast
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from overlay.replicated.interned import switch

__all__ = ["branches"]

_ROOMS = ("mesh", "ipam", "dns", "replicated", "datapath", "policy")
_TABLES = "overlay.replicated.interned"
"""Its branches depend on earlier runs."""
_HIT = "__branch__"


class _Counted(ast.NodeTransformer):
    """Inserts a call at the start of every branch of a module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def _counted(self, body: list[ast.stmt], at: ast.AST, which: str) -> list[ast.stmt]:
        line = getattr(at, "lineno", 0)
        digest = blake2b(f"{self._module} {line} {getattr(at, 'col_offset', 0)} {which}".encode(), digest_size=8)
        number = ast.Constant(int.from_bytes(digest.digest(), "big"))
        call = ast.Expr(ast.Call(ast.Name(_HIT, ast.Load()), [number], []))
        return [ast.fix_missing_locations(ast.copy_location(call, at)), *body]

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body, node, "if")
        node.orelse = self._counted(node.orelse, node, "else")
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body, node, "for")
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body, node, "while")
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body, node, "except")
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body, node.body[0], "case")
        return node


class _Watch:
    """The branch counters of this process's cores, created at the first use."""

    def __init__(self) -> None:
        self.hits: set[int] = set()
        self._ready = False

    def begin(self) -> None:
        """Clear the set of reached branches."""
        self.hits.clear()
        if self._ready:
            return
        self._ready = True
        for room in _ROOMS:  # load all now, because lazily loaded modules would not be counted at first
            package = import_module(f"overlay.{room}")
            for found in sorted(pkgutil.iter_modules(package.__path__, f"overlay.{room}."), key=lambda one: one.name):
                module = import_module(found.name)
                if found.name != _TABLES and str(module.__file__).endswith(".py"):
                    self._count(found.name, module)

    def _count(self, name: str, module: ModuleType) -> None:
        file = str(module.__file__)
        tree = _Counted(name).visit(ast.parse(Path(file).read_text(encoding="utf-8"), file))
        compiled: dict[tuple[str, int], CodeType] = {}
        _codes(compile(tree, file, "exec"), compiled)
        module.__dict__[_HIT] = self.hits.add
        for function in _functions(module.__dict__, name):
            code = compiled.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
            if code is not None and code.co_freevars == function.__code__.co_freevars:
                function.__code__ = code


def _codes(code: CodeType, found: dict[tuple[str, int], CodeType]) -> None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[constant.co_qualname, constant.co_firstlineno] = constant
            _codes(constant, found)


def _functions(names: dict[str, Any], module: str) -> Iterator[FunctionType]:
    """The functions that are defined in a module, and in its classes."""
    for value in list(names.values()):
        if isinstance(value, type) and value.__module__ == module and value.__dict__ is not names:
            yield from _functions(dict(value.__dict__), module)
        for part in _parts(value):
            if isinstance(part, FunctionType) and part.__module__ == module:
                yield part


def _parts(value: Any) -> tuple[Any, ...]:
    if isinstance(value, property):
        return value.fget, value.fset
    if isinstance(value, cached_property):
        return (value.func,)
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    return value, getattr(value, "__wrapped__", None)


_watch = _Watch()


@contextmanager
def branches() -> Iterator[set[int]]:
    """Collect the numbers of all branches taken within the context."""
    switch(on=False)  # tables filled by an earlier run would skip branches of this one
    _watch.begin()
    yield _watch.hits
