"""Which parameters of a model are trained."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from mindspore import Parameter, nn

from openlrm.config.schema import nearest
from openlrm.errors import UserError


def trained_parameters(model: nn.Cell, only: Sequence[str] = (), freeze: Sequence[str] = ()) -> list[Parameter]:
    """Parameters that get a gradient, named by their place in the model.

    Args:
        model: its parameters with `requires_grad` are candidates; all of them get their names.
        only: patterns of names, `*` for any text; without them all candidates.
        freeze: patterns of names that are left out.

    Raises:
        UserError: a pattern that fits no parameter, or nothing left to train.
    """
    found, names = [], []
    for name, parameter in model.parameters_and_names():
        parameter.name = name
        names.append(name)
        if parameter.requires_grad:
            found.append(parameter)
    for option, patterns in (("train.only", only), ("train.freeze", freeze)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                near = nearest(pattern, names)
                hint = f"did you mean {near}?" if near else f"the model has {names[0]}, ... {names[-1]}"
                raise UserError(f"{option}: no parameter is called {pattern}", "config", hint)
    kept = [p for p in found if not only or _fits(p.name, only)]
    kept = [p for p in kept if not _fits(p.name, freeze)]
    if not kept:
        raise UserError("no parameters are left to train", "config", "look at train.only and train.freeze")
    return kept


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
