"""Every MindSpore call in code that runs on a device, and what the installed version's documentation says of it.

`python tests/ascend/calls.py` prints the table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
from mindspore import mint, nn, ops

PACKAGE = Path(__file__).resolve().parents[2] / "openlrm"

_MODULES = {"ops": ops, "nn": nn, "mint": mint, "ms": ms}
_OBJECTS = {"Tensor": ms.Tensor, "Parameter": ms.Parameter}
# Values, not calls.
_NO_CALLS = re.compile(r"ms\.(b?float\d+|u?int\d+|bool_|dtype|PYNATIVE_MODE|GRAPH_MODE)$")
# Of the process, not of a device: documentation of these names no platforms.
_NO_KERNELS = {
    "ms.ParameterTuple",
    "ms.device_context.ascend.op_precision.conv_allow_hf32",
    "ms.Tensor",
    "ms.export",
    "ms.get_context",
    "ms.hal.is_available",
    "ms.runtime.launch_blocking",
    "ms.set_context",
    "ms.set_device",
    "ms.set_seed",
    "ops.constexpr",
    # From a device to the host and back.
    "Tensor.asnumpy",
    "Tensor.from_numpy",
    "Tensor.value",
    # Methods of other objects that are called alike.
    "Tensor.__init__",
    "Tensor.index",
    "Tensor.uniform",
}


class Call(NamedTuple):
    """A name that device code uses.

    Attributes:
        name: "ops.MatMul", "Tensor.sum".
        files: where, from the package's folder on.
        thing: the object itself; None when the installed version has none of that name.
    """

    name: str
    files: tuple[str, ...]
    thing: Any

    @property
    def kernel(self) -> bool:
        """Whether it may start something on a device."""
        return self.name not in _NO_KERNELS


def device_files() -> Iterator[Path]:
    """Python files whose code may run on a device: all that import MindSpore, but compiled loops of the host."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE).with_suffix("").parts
        if "host" not in relative and re.search(r"^\s*(import|from) mindspore", path.read_text(), re.M):
            yield path


def names_in(tree: ast.AST) -> Iterator[str]:
    """Names of `mindspore` that a file uses: dotted from its modules; methods of Tensors by their name alone."""
    for node in ast.walk(tree):
        chain, base = [], node
        while isinstance(base, ast.Attribute):
            chain.append(base.attr)
            base = base.value
        if not chain:
            continue
        if isinstance(base, ast.Name) and base.id in _MODULES:
            dotted = [base.id, *reversed(chain)]
            dotted = dotted[1:] if dotted[:2] in (["ms", "ops"], ["ms", "nn"], ["ms", "mint"]) else dotted
            yield ".".join(dotted)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            base = node.func.value
            if not (isinstance(base, ast.Name) and base.id in {*_MODULES, "np", "math", "self"}) and hasattr(
                ms.Tensor, node.func.attr
            ):
                yield f"Tensor.{node.func.attr}"


def calls() -> list[Call]:
    """All of them, by name."""
    found: dict[str, set[str]] = {}
    for path in device_files():
        for name in names_in(ast.parse(path.read_text())):
            found.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    whole = {name for name in found if not any(other.startswith(f"{name}.") for other in found)}
    return [Call(name, tuple(sorted(found[name])), find(name)) for name in sorted(whole) if not _NO_CALLS.match(name)]


def find(name: str) -> Any:
    """The object a dotted name means; None when there is none."""
    first, *rest = name.split(".")
    thing = _MODULES.get(first) or _OBJECTS[first]
    for part in rest:
        thing = getattr(thing, part, None)
    return thing


@cache
def text(thing: Any) -> str:
    """Documentation; where it refers to another function or names it an alias, that one's too."""
    own = getattr(thing, "__doc__", None) or ""
    match = re.search(r"(?:Refer to|[Aa]lias for|please refer to|details in) :func:`mindspore\.([\w.]+)(?:\(\))?`", own)
    if match and not re.search("Supported Platforms", own):
        other = ms
        for part in match[1].split("."):
            other = getattr(other, part, None)
        if other is not None and other is not thing:
            return f"{own}\n{text(other)}"
    return own


def platforms(thing: Any) -> set[str]:
    """Devices that the documentation names."""
    found: set[str] = set()
    for line in re.findall(r"Supported Platforms:\s*\n\s*(.*)", text(thing)):
        found |= set(re.findall(r"``(\w+)``", line))
    return found


def withdrawn(thing: Any) -> str:
    """What its own documentation says about its removal or another meaning; empty when nothing."""
    own = " ".join((getattr(thing, "__doc__", None) or "").split())
    said = re.search(
        r"[^.:]*(?:(?:API|interface|api) is deprecated|will be changed to slice-along)[^.]*\.(?:\d\.\d)?", own
    )
    return said[0].strip() if said else ""


if __name__ == "__main__":
    for call in calls():
        where = " ".join(sorted(platforms(call.thing)))
        print(f"{call.name:32} {where:18} {withdrawn(call.thing):60.60} {call.files[0]}")
