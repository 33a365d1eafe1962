"""How large the house is: lines and syntax-tree statements by package, and what is large or late in it.

    python -m benchmarks.counts [ROOT]

ROOT is a checkout, this one by default: to compare, run it on two. Statements include imports and docstrings; without
both, they are the last column.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PACKAGES = ("fedcompress", "clients", "strategies")
LONG = 40
"""Lines of a function beyond which it is counted as long."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A parsed file: its package, its path below the root, its lines."""

    package: str
    path: str
    lines: int
    tree: ast.Module

    @property
    def statements(self) -> int:
        return sum(isinstance(node, ast.stmt) for node in ast.walk(self.tree))

    @property
    def logic(self) -> int:
        """Statements that are neither imports nor docstrings."""
        return sum(isinstance(node, ast.stmt) and not _is_apparatus(node) for node in ast.walk(self.tree))

    @property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @property
    def late_imports(self) -> int:
        """Imports of the product's own modules inside functions."""
        inner = {node for function in self.functions for node in ast.walk(function)}
        names = [node.module or "" for node in inner if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in inner if isinstance(node, ast.Import) for alias in node.names]
        return sum(name.partition(".")[0] in PACKAGES for name in names)


def _is_apparatus(node: ast.stmt) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return text or isinstance(node, ast.Import | ast.ImportFrom)


def modules(root: Path) -> Iterator[Module]:
    for top in PACKAGES:
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).parts
            text = path.read_text(encoding="utf-8")
            yield Module("/".join(parts[:2][: len(parts) - 1]), "/".join(parts), text.count("\n"), ast.parse(text))


def main(root: Path) -> None:
    by_package: dict[str, list[Module]] = defaultdict(list)
    for module in modules(root):
        by_package[module.package].append(module)
    everything = [module for package in by_package.values() for module in package]
    print(f"{'package':28}{'files':>6}{'lines':>8}{'statements':>12}{'logic':>8}")
    for name, package in [*sorted(by_package.items()), ("all", everything)]:
        sums = [sum(getattr(module, what) for module in package) for what in ("lines", "statements", "logic")]
        print(f"{name:28}{len(package):6}{sums[0]:8,}{sums[1]:12,}{sums[2]:8,}")
    sizes = {
        f"{module.path}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for module in everything
        for function in module.functions
    }
    largest, longest = max(everything, key=lambda module: module.lines), max(sizes, key=lambda name: sizes[name])
    print(f"largest file: {largest.path}, {largest.lines} lines")
    print(f"longest function: {longest}, {sizes[longest]} lines")
    long = sum(size > LONG for size in sizes.values())
    print(f"functions: {len(sizes)}, median {median(sizes.values()):g} lines, {long} over {LONG}")
    print(f"late imports of own modules: {sum(module.late_imports for module in everything)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
