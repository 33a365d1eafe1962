"""What plug-ins and notebooks are written against, as its source says it; nothing is imported for that."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import cleandoc

from fedcompress.plugins.sources import spec_of

_IN: Mapping[str, Sequence[str]] = {
    "fedcompress.client": ("ClientStrategy", "Result", "action"),
    "fedcompress.strategy": ("ServerStrategy", "Federation", "Reply", "Requests"),
    "fedcompress.groups": ("ClientInfo", "Group"),
    "fedcompress.parameters": ("Params",),
    "fedcompress.training.trainer": ("Trainer", "Evaluation"),
    "fedcompress.training.loop": ("Trained",),
    "fedcompress.training.objectives": (
        *("Objective", "CrossEntropy", "Proximal", "Distillation", "PartlyLabelled", "LogitMatching"),
        *("FeatureMatching", "Rehearsal", "cross_entropy", "kl_divergence"),
    ),
    "fedcompress.data.federated": ("Examples",),
    "fedcompress.wire.content": ("Content", "ArraySpec", "weights_content", "digest"),
    "fedcompress.wire.value_type": ("ValueType",),
    "fedcompress.models.architecture": ("Architecture", "ModelSpec"),
    "fedcompress.compression.base": ("Compression", "Wrapping"),
    "fedcompress.data.dataset": ("Dataset", "DatasetSource", "DataRoots"),
    "fedcompress.data.partition": ("Partition", "Pool"),
    "fedcompress.recipes.method": ("Method", "Outcome"),
    "fedcompress.api.running": ("run", "run_all", "search", "Search"),
    "fedcompress.api.runs": ("load", "Run", "Sweep"),
    "fedcompress.results.runs": ("RunResult",),
    "fedcompress.api.comparing": ("compare", "Compared"),
    "fedcompress.errors": ("FedcompressError", "InputError", "RunError", "PayloadError"),
}
INTERFACES: Mapping[str, str] = {name: module for module, names in _IN.items() for name in names}
"""Name -> module in which it is written: those of the page Python API."""
_SAID = ("classmethod", "staticmethod", "abstractmethod")
"""Decorators that stand in front of a method: how it is called, or that a subclass has to write it."""
_PUBLIC = "fedcompress.api."
"""Modules of what is imported from `fedcompress` itself."""


@dataclass(frozen=True)
class Interface:
    """A class, or a function, as its source has it.

    Attributes:
        text: Its docstring.
        bases: Names of the classes that it is derived from.
        signature: Of a function, or of what makes an instance where the class says so; else empty.
        attributes: Name, with its type, -> meaning; empty where only the docstring says it.
        methods: Signature -> docstring, of public methods in their order.
    """

    text: str
    bases: Sequence[str]
    signature: str
    attributes: Mapping[str, str]
    methods: Mapping[str, str]


def imported_from(name: str) -> str:
    """Returns the module that users import an interface from."""
    module = INTERFACES[name]
    return "fedcompress" if module.startswith(_PUBLIC) else module


def interface(name: str) -> Interface:
    """Returns what the source says of one of `INTERFACES`."""
    node = _definitions(INTERFACES[name])[name]
    text = ast.get_docstring(node) or ""
    if not isinstance(node, ast.ClassDef):
        return Interface(text, (), _signature(node), {}, {})
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    begins = next((_signature(part, name) for part in methods if part.name == "__init__"), "")
    public = [part for part in methods if not part.name.startswith("_")]
    properties = {f"{part.name}{_of_type(part.returns)}": _text(part) for part in public if _is_property(part)}
    bases = [ast.unparse(base) for base in node.bases]
    inherited = {method: said for base in bases if base in INTERFACES for method, said in _texts(base).items()}
    return Interface(
        text,
        bases,
        begins,
        dict(_fields(node)) | properties,
        {_signature(part): _text(part) or inherited.get(part.name, "") for part in public if not _is_property(part)},
    )


def _texts(name: str) -> dict[str, str]:
    """Returns method -> docstring of a class and of those that it is derived from."""
    node = _definitions(INTERFACES[name])[name]
    assert isinstance(node, ast.ClassDef)
    above = (_texts(base) for each in node.bases if (base := ast.unparse(each)) in INTERFACES)
    own = {part.name: said for part in node.body if isinstance(part, ast.FunctionDef) and (said := _text(part))}
    return {method: said for texts in (*above, own) for method, said in texts.items()}


@lru_cache
def _definitions(module: str) -> Mapping[str, ast.ClassDef | ast.FunctionDef]:
    """Returns the classes and functions of a module, by name."""
    spec = spec_of(module)
    source = getattr(spec.loader, "get_source", None) if spec else None
    body = ast.parse(source(module) if source else "").body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yields what a class annotates, and the text below it; a dataclass' docstring says what its fields mean."""
    for part, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.target.id[0] != "_":
            said = below.value if isinstance(below, ast.Expr) else None
            text = cleandoc(str(said.value)) if isinstance(said, ast.Constant) else ""
            default = f" = {ast.unparse(part.value)}" if part.value is not None else ""
            yield f"{part.target.id}{_of_type(part.annotation)}{default}", text


def _text(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.get_docstring(node) or ""


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(each) in ("property", "cached_property") for each in node.decorator_list)


def _of_type(annotation: ast.expr | None) -> str:
    return "" if annotation is None else f": {ast.unparse(annotation)}"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    """Returns how a function is called: a method without what it is bound to."""
    arguments = ast.unparse(node.args)
    for bound in ("self", "cls"):
        arguments = arguments.removeprefix(bound).removeprefix(", ") if arguments.split(",")[0] == bound else arguments
    returns = "" if node.returns is None or name else f" -> {ast.unparse(node.returns)}"
    kinds = [kind for each in node.decorator_list if (kind := ast.unparse(each)) in _SAID]
    return f"{''.join(f'{kind} ' for kind in kinds)}{name or node.name}({arguments}){returns}"
