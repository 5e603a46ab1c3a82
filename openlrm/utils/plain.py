"""Values as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(values: Any) -> Any:
    """What JSON can hold: lists of arrays, numbers of Python; NaN and infinity as None.

    Example:
        >>> plain({"a": np.array([1.0, np.nan])})
        {'a': [1.0, None]}
    """
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    if isinstance(values, (np.ndarray, np.generic)):
        return plain(values.tolist())
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    return values
