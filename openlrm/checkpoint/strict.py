"""Put tensors into a model, or say exactly what does not fit."""

import mindspore as ms
import numpy as np
from mindspore import nn

from openlrm.errors import UserError
from openlrm.utils.logging import get_logger

_SHOWN = 5


def parameter_arrays(model: nn.Cell) -> dict[str, np.ndarray]:
    """Name -> array of all parameters, by their place in the model."""
    return {name: parameter.asnumpy() for name, parameter in model.parameters_and_names()}


def apply_tensors(model: nn.Cell, tensors: dict[str, np.ndarray], where: str, strict: bool = True) -> None:
    """Load `tensors` into the parameters of `model`.

    Args:
        model: any Cell.
        tensors: parameter name -> array.
        where: the file, for messages.
        strict: whether a missing, left over or misshapen entry is an error; otherwise it is logged and skipped.

    Raises:
        UserError: in one line, how many and which names are missing, left over or of another shape.
    """
    parameters = dict(model.parameters_and_names())
    missing = sorted(set(parameters) - set(tensors))
    left_over = sorted(set(tensors) - set(parameters))
    shared = [name for name in parameters if name in tensors]
    reshaped = [name for name in shared if tuple(parameters[name].shape) != tensors[name].shape]
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing: {_some(missing)}")
    if left_over:
        problems.append(f"{len(left_over)} left over: {_some(left_over)}")
    if reshaped:
        shapes = [f"{n} is {tensors[n].shape}, expected {tuple(parameters[n].shape)}" for n in reshaped]
        problems.append(f"{len(reshaped)} of another shape: {_some(shapes)}")
    if problems:
        message = "the checkpoint does not fit the model; " + "; ".join(problems)
        if strict:
            raise UserError(message, where, "check that config.json and the weights belong together")
        get_logger(__name__).warning("%s: %s", where, message)
    for name in shared:
        if name not in reshaped:
            # A copy: the buffer read from the file may be read-only, and training writes in place.
            parameters[name].set_data(ms.Tensor(np.array(tensors[name], np.float32)))


def _some(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
