"""MindSpore primitives of this project: the only place where a CPU and an Ascend path differ.

Everything above this package is written once; a kernel that is slow, missing or different on one device is
chosen here, with the measured reason beside it.
"""

from openlrm.ops.attention import attend_tokens, attention, project_context, project_keys_values, project_output
from openlrm.ops.casting import ProductCell
from openlrm.ops.constants import constant
from openlrm.ops.convolution import conv3x3, unit_channels
from openlrm.ops.device import fuses_layers, marches_on_host, renders_on_host, setup_device
from openlrm.ops.hartley import hartley
from openlrm.ops.layers import AddBias, LayerNorm, Linear, SiLU, gelu, linear, silu
from openlrm.ops.numeric import add_to, assign, searchsorted_right, sort_by_depth, square_sum, take_along_rays
from openlrm.ops.precision import set_precision
from openlrm.ops.primitives import batch_matmul, scatter_nd
from openlrm.ops.sampling import build_table, sample_table
from openlrm.ops.state import inference_state

__all__ = [
    "AddBias",
    "LayerNorm",
    "Linear",
    "ProductCell",
    "SiLU",
    "add_to",
    "assign",
    "attend_tokens",
    "attention",
    "batch_matmul",
    "build_table",
    "constant",
    "conv3x3",
    "fuses_layers",
    "gelu",
    "hartley",
    "inference_state",
    "linear",
    "marches_on_host",
    "project_context",
    "project_keys_values",
    "project_output",
    "renders_on_host",
    "sample_table",
    "scatter_nd",
    "searchsorted_right",
    "set_precision",
    "setup_device",
    "silu",
    "sort_by_depth",
    "square_sum",
    "take_along_rays",
    "unit_channels",
]
