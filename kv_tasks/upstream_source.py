"""One self-contained module out of several of ours, by what some of their functions need.

Definitions keep their source text. Imports of this package are followed, all others are
gathered at the top. Two definitions of one name are an error, not a choice.
"""

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = "kv_tasks"
# What our own errors are where our package is not.
ERRORS = dict.fromkeys(("DataError", "UsageError"), "ValueError")
# What a registered copy of our YAML needs, and nobody else.
_PROJECT_ONLY = (
    re.compile(r"^ +config_source: str \| None = None,\n", re.MULTILINE),
    re.compile(r"^ +config_source: the YAML file, as the harness passes it\.\n", re.MULTILINE),
    re.compile(r"^ +refuse_stale\(config_source\)\n", re.MULTILINE),
    re.compile(r"(?<=when )the YAML is a registered copy of another version, (?:or )?"),
)
_ROLE = re.compile(r":(?:func|data|class|mod):`~?(?:[\w.]+\.)?(\w+)`")


@dataclass(frozen=True)
class Module:
    """A module's source, the text of its top-level definitions, and where its imports are from."""

    definitions: Mapping[str, str]
    imports: Mapping[str, tuple[str, str | None]]


@dataclass
class Bundle:
    """Definitions in an order in which they can be executed, and the imports they need.

    Attributes:
        replaced: source text instead of a definition, by ``kv_tasks.module.name``.
    """

    replaced: Mapping[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    imports: set[tuple[str, str | None]] = field(default_factory=set)

    def add(self, qualified: str) -> None:
        """Add ``kv_tasks.module.name`` and all that it needs.

        Raises:
            ValueError: when two modules define one name, or a name cannot be followed.
        """
        module, _, name = qualified.rpartition(".")
        if module == f"{PACKAGE}.errors":
            return
        if name in self.origins:
            if self.origins[name] != qualified:
                raise ValueError(f"{qualified} and {self.origins[name]} are both named {name}")
            return
        self.origins[name] = qualified
        source = read(module)
        text = self.replaced.get(qualified, source.definitions.get(name, "")).strip("\n")
        if not text:
            raise ValueError(f"{qualified}: no definition; import names, not modules")
        for used in _names(ast.parse(text)):
            if used == name:
                continue
            if used in source.definitions:
                self.add(f"{module}.{used}")
            elif used in source.imports:
                self._import(*source.imports[used])
            elif qualified in self.replaced and used in REPLACEMENT_IMPORTS:
                self._import(*REPLACEMENT_IMPORTS[used])
        self.texts[name] = text

    def _import(self, module: str, name: str | None) -> None:
        if module.split(".")[0] != PACKAGE:
            self.imports.add((module, name))
        elif name is None:
            raise ValueError(f"{module}: import names of it, not the module")
        else:
            self.add(f"{module}.{name}")

    def render(self, docstring: str) -> str:
        """Return the module's source text, its imports and blank lines as they come."""
        imports = sorted(
            f"import {module}" if name is None else f"from {module} import {name}"
            for module, name in self.imports
        )
        return "\n".join([f'"""{docstring}"""', *imports, *dict.fromkeys(self.texts.values())])


# Modules that a replacement may use although the module it stands in does not.
REPLACEMENT_IMPORTS: dict[str, tuple[str, str | None]] = {
    "Any": ("typing", "Any"),
    "Path": ("pathlib", "Path"),
    "datasets": ("datasets", None),
    "gzip": ("gzip", None),
    "hashlib": ("hashlib", None),
    "json": ("json", None),
    "os": ("os", None),
    "zipfile": ("zipfile", None),
}


@cache
def read(name: str) -> Module:
    """Return a module of ours, parsed."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    source = Path(spec.origin).read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    definitions: dict[str, str] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(source).body:
        for defined in _defined(node):
            definitions[defined] = _text(node, lines)
        if isinstance(node, ast.Import):
            imports |= {a.asname or a.name: (a.name, None) for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {a.asname or a.name: (node.module, a.name) for a in node.names}
    return Module(definitions, imports)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [
        name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
    ]


def _text(node: ast.stmt, lines: list[str]) -> str:
    """Return a definition's source with its decorators and the comment above it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    text = "".join(lines[first : node.end_lineno])
    for pattern in _PROJECT_ONLY:
        text = pattern.sub("", text)
    for ours, theirs in ERRORS.items():
        text = re.sub(rf"\b{ours}\b", theirs, text)
    return _ROLE.sub(r"``\1``", text).rstrip()


def _names(node: ast.AST) -> list[str]:
    """Return the names that a definition uses, in order, annotations in quotes included."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    quoted = [
        name
        for n in ast.walk(node)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.isidentifier()
        for name in [n.value]
        if name[0].isupper()
    ]
    return [*dict.fromkeys([*(name.id for name in found), *quoted])]
