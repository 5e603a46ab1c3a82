"""Installed packages against what the project declares."""

from __future__ import annotations

import re
from importlib import metadata

from openlrm.doctor.report import Finding, note, ok, problem

OPTIONAL = {
    "mindone": ("diffusion models and trainers of MindSpore", '"mindone==0.5.0" ml_dtypes'),
    "ml_dtypes": ("what mindone imports without asking for it", "ml_dtypes"),
    "onnxruntime": ("runs the IS-Net that cuts objects out of photographs", "onnxruntime"),
    "rembg": ("cuts objects out of photographs", '"rembg[cpu]"'),
    "gradio": ("demo in the browser", "gradio"),
    "bpy": ("Blender, renders objects for training", "bpy"),
    "tensorboard": ("curves of a training run", "tensorboard"),
}
"""Package -> (what it is for, what to give to pip)."""

_DISTRIBUTION = "openlrm-mindspore"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*([^;]*)")
_BOUND = re.compile(r"(>=|<=|==|<|>)\s*([\d.]+)")


def check_dependencies() -> Finding:
    """Whether every declared dependency is there in a version that fits."""
    requirements = declared()
    if requirements is None:
        return note("not compared with what is declared: the project is not installed", "pip install -e .")
    found, wrong, install = [], [], []
    for requirement in requirements:
        name, bounds = _REQUIREMENT.match(requirement).groups()
        version = installed(name)
        if version is not None and fits(version, bounds):
            found.append(f"{name} {version}")
        else:
            wrong.append(f"{name} is {version or 'missing'}, {bounds.strip()} is asked for")
            install.append(f'"{name}{bounds.strip()}"')
    if wrong:
        return problem("; ".join(wrong), f"pip install {' '.join(install)}")
    return ok(", ".join(found))


def check_optional(name: str) -> Finding:
    """Whether one of `OPTIONAL` is there; that it is not is no problem."""
    purpose, install = OPTIONAL[name]
    version = installed(name)
    if version is None:
        return note(f"not installed ({purpose})", f"pip install {install}")
    return ok(f"{version} ({purpose})")


def declared() -> list[str] | None:
    """Requirements of the installed project such as `numpy>=1.26,<3`; None when it is not installed."""
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    return [requirement for requirement in requirements if "extra ==" not in requirement]


def installed(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def fits(version: str, bounds: str) -> bool:
    """Whether a version is inside bounds of plain numbers, the only kind pyproject.toml has.

    Example:
        >>> fits("1.26.4", ">=1.26,<2"), fits("2.0.1", ">=1.26,<2")
        (True, False)
    """
    have = _numbers(version)
    compare = {
        ">=": have.__ge__,
        "<=": have.__le__,
        "==": have.__eq__,
        "<": have.__lt__,
        ">": have.__gt__,
    }
    return all(compare[sign](_numbers(bound)) for sign, bound in _BOUND.findall(bounds))


def _numbers(version: str) -> tuple[int, ...]:
    """Release numbers without trailing zeros; what follows them (rc1, +cpu) does not count."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version).group().split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
