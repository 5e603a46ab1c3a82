"""Names of weights in GeoLRM's published files; they are the parameters' own, with little around them."""

from __future__ import annotations

import numpy as np

from openlrm.errors import UserError

Tensors = dict[str, np.ndarray]

NETWORKS = ("serializer.", "lrm_generator.")
_PROPOSAL = ("encoder.", "transformer.", "upsample.")
_WRAPPERS = ("network.", "module.")
_COMPILED = "_orig_mod."
_COUNTER = ".num_batches_tracked"
_NORMS = (".deconv.1", ".low_level_encoder.1")


def from_checkpoint(tensors: Tensors, expected: set[str]) -> Tensors:
    """Names of a checkpoint of either stage -> ours.

    What is of neither network (metrics and what optimisers leave) is dropped, counters of batches too. Names without a
    network are the proposal's: so its own file may have them. Where only the proposal is expected, the rest of a whole
    file is left.

    Args:
        tensors: what the file holds.
        expected: the model's parameter names.

    Raises:
        UserError: two entries of one name.
    """
    only_proposal = not any(name.startswith(NETWORKS[1]) for name in expected)
    renamed: Tensors = {}
    for name, value in tensors.items():
        name = name.replace(_COMPILED, "")
        while name.startswith(_WRAPPERS):
            name = name.split(".", 1)[1]
        if name.startswith(_PROPOSAL):
            name = NETWORKS[0] + name
        other = not name.startswith(NETWORKS) or (only_proposal and name.startswith(NETWORKS[1]))
        if other or name.endswith(_COUNTER):
            continue
        if name in renamed:
            raise UserError(f"{name} is there twice, with a prefix and without", hint="keep one of the two models")
        renamed[name] = value
    return renamed


def to_release(tensors: Tensors) -> Tensors:
    """Our names -> the released layout: the same, and a counter of batches beside each norm's statistics."""
    counters = {
        name.removesuffix(".running_mean") + _COUNTER: np.zeros((), np.int64)
        for name in tensors
        if name.endswith(tuple(f"{norm}.running_mean" for norm in _NORMS))
    }
    return dict(tensors) | counters
