"""Imports point down, every module imports, and the light parts stay light."""

from __future__ import annotations

import ast
import graphlib
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openlrm

REPO = Path(__file__).resolve().parents[1]

LEVELS = {
    "openlrm.errors": 0,
    "openlrm.config": 0,
    "openlrm.utils": 0,
    "openlrm.cameras": 1,
    "openlrm.ops": 1,
    "openlrm.parallel": 1,
    "openlrm.reports": 1,
    "openlrm.analysis": 2,
    "openlrm.losses": 2,
    "openlrm.metrics": 2,
    "openlrm.preprocess": 2,
    "openlrm.datasets": 2,
    "openlrm.nn.transformer": 2,
    "openlrm.nn.encoders": 2,
    "openlrm.representations.gaussians": 2,
    "openlrm.representations.triplane": 2,
    "openlrm.families.lrm": 3,
    "openlrm.models.registry": 3,
    "openlrm.models": 3,
    "openlrm.checkpoint": 3,
    "openlrm.training": 4,
    "openlrm.inference": 4,
    "openlrm.api": 4,
    "openlrm.doctor": 4,
    "openlrm.factory": 4,
    "openlrm.app": 5,
    "openlrm.runners": 5,
    "openlrm.launch": 6,
}
"""The arrow rule: a part imports itself, its own level and lower ones."""

SHARED_MODEL_PARTS = {"openlrm.models.registry", "openlrm.models"}
"""Level 3 under models/, but no family."""

WITHOUT_MINDSPORE = (
    "errors",
    "config",
    "utils",
    "analysis",
    "cameras",
    "datasets",
    "metrics",
    "preprocess",
    "reports",
    "factory",
    "api",
    "app",
    "runners",
    "launch",
)

DEVICE_CHOICE_ALLOWED = ("openlrm.ops", "openlrm.doctor", "openlrm.runners")

DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "mcubes": "pymcubes", "yaml": "pyyaml"}
"""Import names that differ from the name a package is installed by."""


def module_name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((REPO / "openlrm").rglob("*.py"))}


def part_of(module: str) -> str | None:
    """Longest entry of LEVELS that holds a module; `openlrm.models` stands for its __init__ alone."""
    pieces = module.split(".")
    prefixes = (".".join(pieces[:length]) for length in range(len(pieces), 1, -1))
    return next((name for name in prefixes if name in LEVELS and (name != "openlrm.models" or name == module)), None)


def imports_of(source: str, module: str, is_package: bool = False, lazy: bool = True) -> set[str]:
    """Names a source imports, `from a import b` as `a.b`; not lazy: those outside functions only."""
    found = set()
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if lazy or not isinstance(node, ast.FunctionDef):
            nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                parents = node.level - is_package
                base = [*module.split(".")[: -parents or None], *base]
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def imported_part(name: str) -> str | None:
    """Part that an imported name of ours belongs to; None for `openlrm` itself and its version."""
    if name in ("openlrm", "openlrm.__version__"):
        return None
    if name.startswith("openlrm.models.") and part_of(name) is None:
        return "openlrm.models"
    return part_of(name) or ("openlrm.models" if name == "openlrm.ModelLRM" else name)


def why_forbidden(importer: str, imported: str) -> str | None:
    """Reason why the part `importer` may not import the part `imported`."""
    if importer == imported:
        return None
    if imported not in LEVELS:
        return f"{imported} has no level"
    if LEVELS[imported] > LEVELS[importer]:
        return f"level {LEVELS[importer]} imports level {LEVELS[imported]}"
    if is_family(importer) and is_family(imported):
        return "a model family imports another"
    return None


def is_family(part: str) -> bool:
    return part.startswith("openlrm.models.") and LEVELS[part] == 3 and part not in SHARED_MODEL_PARTS


def imports_of_file(module: str, lazy: bool = True) -> set[str]:
    path = FILES[module]
    return imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", lazy)


def our_imports(lazy: bool = True) -> dict[str, set[str]]:
    """Parts that each of our modules imports; the lazy exports of `openlrm` itself are left out."""
    return {
        module: {
            part
            for name in imports_of_file(module, lazy)
            if name.split(".")[0] == "openlrm" and (part := imported_part(name)) is not None
        }
        for module in FILES
        if module != "openlrm"
    }


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("openlrm.ops", "openlrm.errors", True),
        ("openlrm.utils", "openlrm.config", True),
        ("openlrm.utils", "openlrm.ops", False),
        ("openlrm.datasets", "openlrm.models", False),
        ("openlrm.models.registry", "openlrm.families.lrm", True),
        ("openlrm.inference", "openlrm.runners", False),
        ("openlrm.runners", "openlrm.nowhere", False),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert (why_forbidden(importer, imported) is None) == allowed


def test_families_stay_apart(monkeypatch):
    monkeypatch.setitem(LEVELS, "openlrm.models.other", 3)
    assert why_forbidden("openlrm.models.other", "openlrm.families.lrm")
    assert why_forbidden("openlrm.families.lrm", "openlrm.models.other")
    assert why_forbidden("openlrm.models.other", "openlrm.representations.triplane") is None


def test_imports_are_read_in_every_form():
    source = (
        "import openlrm.ops.layers as layers\n"
        "from openlrm import ModelLRM\n"
        "from ..utils import paths\n"
        "from . import near\n"
        "def lazily():\n"
        "    from openlrm.runners import base\n"
    )
    assert imports_of(source, "openlrm.cameras.poses") == {
        "openlrm.ops.layers",
        "openlrm.ModelLRM",
        "openlrm.runners.base",
        "openlrm.utils.paths",
        "openlrm.cameras.near",
    }
    assert "openlrm.runners.base" not in imports_of(source, "openlrm.cameras.poses", lazy=False)
    assert imports_of("from .model import ModelLRM", "openlrm.families.lrm", is_package=True) == {
        "openlrm.families.lrm.model.ModelLRM"
    }
    assert imported_part("openlrm.ModelLRM") == imported_part("openlrm.models.ModelLRM") == "openlrm.models"
    assert imported_part("openlrm.families.lrm.model.ModelLRM") == "openlrm.families.lrm"


def test_every_module_has_a_level():
    assert [module for module in FILES if module != "openlrm" and part_of(module) is None] == []


def test_imports_point_down():
    wrong = [
        f"{module} imports {part}: {reason}"
        for module, parts in our_imports().items()
        for part in sorted(parts)
        if (reason := why_forbidden(part_of(module), part))
    ]
    assert wrong == []


def test_no_cycle_between_parts():
    """Imports inside functions are free to point back: `ModelLRM.from_pretrained` reads a checkpoint."""
    graph: dict[str, set[str]] = {}
    for module, parts in our_imports(lazy=False).items():
        graph.setdefault(part_of(module), set()).update(parts - {part_of(module)})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_packages_are_complete():
    walked = {info.name for info in pkgutil.walk_packages(openlrm.__path__, "openlrm.")}
    assert walked == set(FILES) - {"openlrm"}, "a folder without __init__.py, or a file that is no module"


@pytest.mark.parametrize("module", FILES)
def test_module_imports(module):
    importlib.import_module(module)


def test_light_parts_import_without_mindspore():
    light = [
        "openlrm",
        *(module for module in FILES if module.startswith(tuple(f"openlrm.{p}" for p in WITHOUT_MINDSPORE))),
    ]
    # None in sys.modules makes the import fail where it is attempted, so that the traceback names the file.
    script = (
        "import sys, importlib\n"
        "sys.modules['mindspore'] = None\n"
        f"for name in {light!r}:\n    importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def device_choices(source: str) -> list[str]:
    """Expressions that ask which device runs: by context, by `on_ascend` or by comparing a device's name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        asked = name in ("get_context", "on_ascend") and ast.unparse(node) != "multiprocessing.get_context"
        if asked or any(isinstance(side, ast.Constant) and side.value in ("Ascend", "CPU", "GPU") for side in compared):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_device_choices_are_seen():
    assert device_choices("x = ms.get_context('device_target')")
    assert device_choices("if target == 'Ascend': pass")
    assert device_choices("y = a if on_ascend() else b")
    assert not device_choices("setup_device('CPU', mode=1)")
    assert not device_choices("multiprocessing.get_context('fork')")


def test_kernels_are_chosen_in_ops_alone():
    wrong = {
        module: choices
        for module, path in FILES.items()
        if not module.startswith(DEVICE_CHOICE_ALLOWED)
        and (choices := device_choices(path.read_text(encoding="utf-8")))
    }
    assert wrong == {}


def test_compiled_loops_are_kept_and_spread_by_our_own_means():
    """Numba's cache does not see a helper's file change, its threads end the process when two callers meet in them, and
    with all of fastmath a NaN is whatever the compiler likes.
    """
    wrong = {
        module: found
        for module, path in FILES.items()
        if (found := re.findall(r"cache=True|parallel=True|prange|fastmath=True", path.read_text(encoding="utf-8")))
    }
    assert wrong == {}, "use openlrm.utils.compiled and openlrm.utils.threads"


def test_an_import_makes_nothing_of_mindspore():
    """Communication comes first on an Ascend: before it there must be no tensor, parameter, operation or net."""
    from mindspore import Tensor, nn, ops

    made = [
        f"{module}.{name}"
        for module in FILES
        for name, value in vars(importlib.import_module(module)).items()
        # A constexpr is an operation by its type, but is run by Python while a graph is compiled.
        if isinstance(value, (Tensor, nn.Cell, ops.Primitive)) and "constexpr" not in type(value).__qualname__
    ]
    assert made == []


def test_third_party_imports_are_declared():
    declared = re.findall(r'"([A-Za-z0-9_-]+)[=<>~,.*\d]*"', (REPO / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {name.lower().replace("_", "-") for name in declared}
    used = {name.split(".")[0] for module in FILES for name in imports_of_file(module)}
    used -= set(sys.stdlib_module_names) | {"openlrm"}
    missing = {name for name in used if DISTRIBUTIONS.get(name, name).lower().replace("_", "-") not in declared}
    assert missing == set()


def test_public_functions_are_not_hidden_by_modules():
    """Importing a submodule binds its name in the package, over a function of that name imported before."""
    for package in ("openlrm.ops", "openlrm.cameras", "openlrm.losses", "openlrm.metrics"):
        public = importlib.import_module(package)
        for info in pkgutil.iter_modules(public.__path__):
            if info.name in getattr(public, "__all__", ()):
                already_imported = f"{package}.{info.name}" in sys.modules
                assert already_imported and not isinstance(getattr(public, info.name), type(sys)), info.name
