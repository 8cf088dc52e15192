"""Finds every reason slug in the source, by reading its syntax trees.

A reason that is given in an unknown way is an error, so that none is missed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ERRORS = {"Refused", "Retry", "Fault", "Problem", "BodyError", "__init__"}
"""Calls with the argument `reason=`: error classes, their constructors, and classes that answer with them."""
KINDS = ERRORS - {"__init__"} | {"ClientError"}
OUTCOME_REASON = 1
"""The position of the reason among the arguments of `Outcome`."""


class NotUnderstoodError(Exception):
    """A reason is given in a way that this module can't follow."""


def reasons(source: Path) -> dict[str, Path]:
    """Every slug, with a file that uses it.

    Args:
        source: the folder of the package.
    """
    modules = _modules(source)
    constants = _constants(modules)
    found: dict[str, Path] = {}
    for module in modules:
        for slug in module.slugs(constants):
            found.setdefault(slug, module.path)
    return found


def sites(source: Path) -> dict[str, set[tuple[str, str]]]:
    """Every slug, with the errors that have it: the class of the error, and the module that raises it.

    Args:
        source: the folder of the package.
    """
    modules = _modules(source)
    constants = _constants(modules)
    found: dict[str, set[tuple[str, str]]] = {}
    for module in modules:
        for kind, slug in module.errors(constants):
            found.setdefault(slug, set()).add((kind, str(module.path.relative_to(source))))
    return found


def _modules(source: Path) -> list[Module]:
    # Users don't see the fakes, and the helper's slugs are the detail of `helper-failed`.
    others = (source / "testing", source / "helper")
    paths = (path for path in sorted(source.rglob("*.py")) if not any(map(path.is_relative_to, others)))
    return [Module(path) for path in paths]


def _constants(modules: list[Module]) -> dict[str, ast.expr]:
    return {name: value for module in modules for name, value in module.constants.items()}


class Module:
    """One module's syntax tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text("utf-8"))
        self.constants = dict(self._assigned(self.tree.body))

    def slugs(self, constants: dict[str, ast.expr]) -> Iterator[str]:
        """The slugs of this module's errors, problems, outcomes and suspensions.

        Args:
            constants: the values of all modules' constants by name.
        """
        known = constants | self.constants
        for given in self._given():
            yield from self._resolved(given, known)
        yield from self._members_of("SuspensionReason")

    def errors(self, constants: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
        """The classes and slugs of this module's errors, where both are literal."""
        known = constants | self.constants
        for call in (node for node in ast.walk(self.tree) if isinstance(node, ast.Call)):
            kind = _name(call.func)
            for keyword in call.keywords:
                if keyword.arg == "reason" and kind in KINDS:
                    yield from ((kind, slug) for slug in self._resolved(keyword.value, known))

    def _given(self) -> Iterator[ast.expr]:
        helpers = self._helpers()
        for call in (node for node in ast.walk(self.tree) if isinstance(node, ast.Call)):
            name = _name(call.func)
            if name in ERRORS:
                yield from (keyword.value for keyword in call.keywords if keyword.arg == "reason")
            elif name == "Outcome" and len(call.args) > OUTCOME_REASON:
                yield call.args[OUTCOME_REASON]
            elif name in helpers:
                yield call.args[helpers[name]]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                yield from (value for name, value in self._assigned(node.body) if name == "reason")

    def _helpers(self) -> dict[str, int]:
        """The module's own functions with an argument `reason`, each with its position."""
        functions = [node for node in self.tree.body if isinstance(node, ast.FunctionDef)]
        places = {f.name: [argument.arg for argument in f.args.args] for f in functions}
        return {name: names.index("reason") for name, names in places.items() if "reason" in names}

    def _resolved(self, given: ast.expr, known: dict[str, ast.expr]) -> Iterator[str]:
        match given:
            case ast.Constant(value=str(text)):
                yield from filter(None, [text])
            case ast.Name(id="reason") | ast.Attribute(attr="reason" | "value"):
                pass  # passed on from where it was first given
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in known:
                yield from self._resolved(known[name], known)
            case _:
                for value in self._alternatives(given):
                    yield from self._resolved(value, known)

    def _alternatives(self, given: ast.expr) -> list[ast.expr]:
        """The expressions of which one is the reason."""
        match given:
            case ast.IfExp(body=body, orelse=orelse):
                return [body, orelse]
            case ast.BoolOp(values=values) | ast.Dict(values=values):
                return values
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[_, default]):
                return [table, default]
        where = f"{self.path}:{given.lineno}"
        raise NotUnderstoodError(f"{where}: the reason {ast.unparse(given)} isn't understood")

    def _members_of(self, enum: str) -> Iterator[str]:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == enum:
                for _, value in self._assigned(node.body):
                    yield from self._resolved(value, {})

    @staticmethod
    def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
        for node in body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    yield name, value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    yield name, value


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
