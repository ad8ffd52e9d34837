"""Which codes the code base can answer, read from its source: what is raised, not what somebody remembered to list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from licensing_site.environment import BASE_DIR

APPS = (
    "agent_api",
    "common",
    "dashboard",
    "licenses",
    "licensing_site",
    "metering",
    "tenants",
    "vendor_api",
    "webhooks",
)
#: The place of the code among the arguments of what raises or builds a refusal.
CODE_FIRST = {
    "BadRequest",
    "Conflict",
    "Forbidden",
    "ImportBroken",
    "JobFailedError",
    "JwkFault",
    "QuantityError",
    "TextError",
    "_of_quota",
}
CODE_SECOND = {
    *("DimensionError", "EventFault", "LineFault", "PriceError"),
    *("_error", "conflict_if_taken", "field", "refuse"),
}
CODE_NAMED = {
    "FieldError",
    "ErrorDetail",
    "Invalid",
    "NotFound",
    "ReasonBody",
    "UsageResult",
    "ValidationError",
    "dict",
}
#: Documents and demo data show codes; they raise none.
SHOWN_ONLY = (
    "agent_api/views/examples.py",
    "vendor_api/refusals.py",
    "vendor_api/schema.py",
    "licensing_site/quickstart/",
    "/migrations/",
)


def codes_in_source() -> dict[str, str]:
    """Every code that stands in the source as a text, and a place where it does."""
    found: dict[str, str] = {}
    for path in _modules():
        for code, line in _codes(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(code, f"{path.relative_to(BASE_DIR)}:{line}")
    return found


def _modules() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((BASE_DIR / app).rglob("*.py")):
            if not any(part in path.as_posix() for part in SHOWN_ONLY):
                yield path


def _codes(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call():
                yield from _of_call(node)
            case ast.ClassDef():
                yield from _of_class(node)
            case ast.Dict():
                yield from _of_dict(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple(elts=[_, code, _])) if name.endswith("_TAKEN"):
                # The constraint that clashes, the code, the sentence.
                yield from _text(code)
            case ast.Return(value=ast.Tuple(elts=[_, code, _])):
                # A path, a code and a sentence: how decoders say what is wrong.
                yield from _text(code)


def _of_call(node: ast.Call) -> Iterator[tuple[str, int]]:
    name = ast.unparse(node.func).rpartition(".")[2]
    place = 0 if name in CODE_FIRST else 1 if name in CODE_SECOND else None
    if place is not None and len(node.args) > place:
        yield from _text(node.args[place])
    if name in CODE_NAMED:
        for keyword in node.keywords:
            if keyword.arg == "code":
                yield from _text(keyword.value)


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """`code = "…"` of an exception."""
    if node.name == "ReasonBody":
        return
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and target.id == "code":
                yield from _text(statement.value)


def _of_dict(node: ast.Dict) -> Iterator[tuple[str, int]]:
    """`{"code": "…"}` where an error is written as a plain object."""
    keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
    if {"code", "detail"} <= set(keys):
        yield from _text(node.values[keys.index("code")])


def _text(node: ast.expr) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value, node.lineno
