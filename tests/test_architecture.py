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
    "openlrm.analysis": 2,
    "openlrm.checkpoint": 2,
    "openlrm.datasets": 2,
    "openlrm.geometry": 2,
    "openlrm.losses": 2,
    "openlrm.metrics": 2,
    "openlrm.nn": 2,
    "openlrm.preprocess": 2,
    "openlrm.reports": 2,
    "openlrm.representations": 3,
    "openlrm.training": 4,
    "openlrm.families": 5,
    "openlrm.families.geolrm": 5,
    "openlrm.families.lrm": 5,
    "openlrm.families.instantmesh": 5,
    "openlrm.fitting": 5,
    "openlrm.evaluation": 6,
    "openlrm.doctor": 6,
    "openlrm.diagnosis": 6,
    "openlrm.finetuning": 6,
    "openlrm.factory": 6,
    "openlrm.api": 6,
    "openlrm.models": 6,
    "openlrm.app": 7,
    "openlrm.runners": 7,
    "openlrm.launch": 8,
}
"""The arrow rule: a part imports itself, its own level and lower ones, and no circle. `docs/architecture.md` has it."""

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
    "training.config",
    "families.family",
    "families.geolrm.config",
    "families.geolrm.family",
    "families.geolrm.options",
    "families.geolrm.presets",
    "families.instantmesh.config",
    "families.instantmesh.family",
    "families.instantmesh.options",
    "families.instantmesh.presets",
    "families.lrm.config",
    "families.lrm.family",
    "families.lrm.options",
    "families.lrm.presets",
    "fitting.config",
    "evaluation.config",
    "diagnosis.config",
    "finetuning.config",
    "factory",
    "api",
    "app",
    "runners",
    "launch",
)

DEVICE_CHOICE_ALLOWED = ("openlrm.ops",)
"""Where the device may be asked for; everything else asks what kernels `ops` has."""

DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "mcubes": "pymcubes", "yaml": "pyyaml"}
"""Import names that differ from the name a package is installed by."""


def module_name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FOR_BLENDER = REPO / "openlrm" / "factory" / "blender_scripts"
"""Files that Blender's own Python runs; no modules of the package."""

FILES = {module_name(path): path for path in sorted((REPO / "openlrm").rglob("*.py")) if path.parent != FOR_BLENDER}


def part_of(module: str) -> str | None:
    """Longest entry of LEVELS that holds a module."""
    pieces = module.split(".")
    prefixes = (".".join(pieces[:length]) for length in range(len(pieces), 1, -1))
    return next((name for name in prefixes if name in LEVELS), None)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_of(source: str, module: str, is_package: bool = False, types: bool = True) -> set[str]:
    """Names a source imports, in functions too, `from a import b` as `a.b`; not types: those of a running program."""
    found = set()
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if types or not is_for_types(node):
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


def imported_module(name: str) -> str | None:
    """Module that an imported name of ours is or comes from; None for `openlrm` itself, whose exports are lazy."""
    pieces = name.split(".")
    prefixes = (".".join(pieces[:length]) for length in range(len(pieces), 1, -1))
    return next((prefix for prefix in prefixes if prefix in FILES), None)


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
    return part.startswith("openlrm.families.")


def our_imports(types: bool) -> dict[str, set[str]]:
    """Modules that each of our modules imports; the lazy exports of `openlrm` itself are left out."""
    found = {}
    for module, path in FILES.items():
        if module != "openlrm":
            names = imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", types)
            ours = {imported_module(name) for name in names if name.startswith("openlrm.")}
            found[module] = ours - {None, module}
    return found


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("openlrm.ops", "openlrm.errors", True),
        ("openlrm.utils", "openlrm.config", True),
        ("openlrm.utils", "openlrm.ops", False),
        ("openlrm.datasets", "openlrm.families", False),
        ("openlrm.families.lrm", "openlrm.families", True),
        ("openlrm.training", "openlrm.families.lrm", False),
        ("openlrm.runners", "openlrm.nowhere", False),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert (why_forbidden(importer, imported) is None) == allowed


def test_families_stay_apart(monkeypatch):
    monkeypatch.setitem(LEVELS, "openlrm.families.other", 5)
    assert why_forbidden("openlrm.families.other", "openlrm.families.lrm")
    assert why_forbidden("openlrm.families.lrm", "openlrm.families.other")
    assert why_forbidden("openlrm.families.other", "openlrm.representations") is None


def test_imports_are_read_in_every_form():
    source = (
        "import openlrm.ops.layers as layers\n"
        "from ..utils import paths\n"
        "from . import near\n"
        "if TYPE_CHECKING:\n"
        "    from openlrm.training.task import Task\n"
        "def lazily():\n"
        "    from openlrm.runners import base\n"
    )
    running = {"openlrm.ops.layers", "openlrm.runners.base", "openlrm.utils.paths", "openlrm.cameras.near"}
    assert imports_of(source, "openlrm.cameras.poses", types=False) == running
    assert imports_of(source, "openlrm.cameras.poses") == running | {"openlrm.training.task.Task"}
    assert imports_of("from .model import ModelLRM", "openlrm.families.lrm", is_package=True) == {
        "openlrm.families.lrm.model.ModelLRM"
    }
    assert imported_module("openlrm.families.lrm.model.ModelLRM") == "openlrm.families.lrm.model"
    assert imported_module("openlrm.cameras.Camera") == "openlrm.cameras"
    assert imported_module("openlrm.ModelLRM") is None


def test_every_module_has_a_level():
    assert [module for module in FILES if module != "openlrm" and part_of(module) is None] == []


def test_imports_point_down():
    wrong = [
        f"{module} imports {imported}: {reason}"
        for module, modules in our_imports(types=True).items()
        for imported in sorted(modules)
        if (reason := why_forbidden(part_of(module), part_of(imported)))
    ]
    assert wrong == []


def test_no_circle_between_parts():
    """Imports inside functions count: a part that is understood alone needs none that points back."""
    graph: dict[str, set[str]] = {}
    for module, modules in our_imports(types=False).items():
        graph.setdefault(part_of(module), set()).update({part_of(name) for name in modules} - {part_of(module)})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_circle_between_modules():
    graphlib.TopologicalSorter(our_imports(types=False)).prepare()


def test_nothing_inside_comes_from_the_front():
    """`openlrm` hands out names of high parts; the graph above does not see through it."""
    wrong = [
        f"{module} imports {name}"
        for module, path in FILES.items()
        for name in imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        if name.split(".")[0] == "openlrm" and name != "openlrm.__version__" and imported_module(name) is None
    ]
    assert wrong == []


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


DEVICE_QUESTIONS = ("get_context", "on_ascend", "host_kernels", "ascend_available")


def device_choices(source: str) -> list[str]:
    """Expressions that ask which device runs: by context, by name, or by the questions that `ops` asks itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        asked = name in DEVICE_QUESTIONS and ast.unparse(node) != "multiprocessing.get_context"
        if asked or any(isinstance(side, ast.Constant) and side.value in ("Ascend", "CPU", "GPU") for side in compared):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_device_choices_are_seen():
    assert device_choices("x = ms.get_context('device_target')")
    assert device_choices("if target == 'Ascend': pass")
    assert device_choices("y = a if on_ascend() else b")
    assert device_choices("y = a if ops.host_kernels() else b")
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
    used = {
        name.split(".")[0] for module in FILES for name in imports_of(FILES[module].read_text(encoding="utf-8"), module)
    }
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
