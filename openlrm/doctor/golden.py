"""The golden numbers of a family on this machine."""

from __future__ import annotations

from typing import Any

from openlrm.doctor.report import Finding, ok, problem
from openlrm.families.family import Golden


def check_files(golden: Golden) -> Finding:
    """Whether the golden files can be read and the weights fit the model."""
    case = golden.open(golden.folder)
    parameters = sum(parameter.size for parameter in case.model.get_parameters())
    return ok(f"{len(case.arrays)} arrays, a model of {parameters} parameters")


def check_stage(golden: Golden, case: Any, stage: str) -> Finding:
    """Largest relative difference of a stage's results from the golden ones."""
    worst, difference, allowed = golden.check(case, stage)
    if difference <= allowed:
        return ok(f"differs by {difference:.1e} at most, {allowed:.0e} is allowed")
    return problem(
        f"{worst} differs by {difference:.1e}, {allowed:.0e} is allowed",
        "results will be wrong: install the program again; if that does not help, report it",
    )
