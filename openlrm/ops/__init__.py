"""MindSpore primitives of this project: the only place where a CPU and an Ascend path differ.

Everything above this package is written once; a kernel that is slow, missing or different on one device is
chosen here, with the measured reason beside it.
"""

from openlrm.ops.attention import attention
from openlrm.ops.device import on_ascend, setup_device
from openlrm.ops.layers import LayerNorm, Linear, gelu, silu, split_heads
from openlrm.ops.numeric import searchsorted_right, sort_by_depth, take_along_rays
from openlrm.ops.sampling import build_table, sample_table

__all__ = [
    "LayerNorm",
    "Linear",
    "attention",
    "build_table",
    "gelu",
    "on_ascend",
    "sample_table",
    "searchsorted_right",
    "setup_device",
    "silu",
    "sort_by_depth",
    "split_heads",
    "take_along_rays",
]
