"""A strict stand-in of an Ascend NPU's kernels.

It takes the place of every MindSpore function and primitive that device code calls (`tests/ascend/calls.py` finds
them), refuses what the installed version's documentation does not promise on Ascend, and computes the rest on the CPU
in the format of its inputs: half precision is multiplied and summed in float32 and rounded once, as the device's cube
does. Gradients come from the same rounded operations.

Documentation of MindSpore 2.10 is what is enforced; where it says nothing, nothing is.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import mindspore as ms
from calls import Call, calls, platforms, withdrawn
from mindspore import Parameter, Tensor, ops

HALF = (ms.float16, ms.bfloat16)
_FLOATS = (*HALF, ms.float32, ms.float64)
_LAYOUTS = {"BSH": 3, "SBH": 3, "BNSD": 4, "BSND": 4, "TND": 3}
# They change their first argument: it must not be cast.
_IN_PLACE = {"ops.Assign", "ops.AssignAdd", "ops.Adam", "ops.AllReduce", "ops.AllGather"}


class RefusedError(Exception):
    """A call that the documentation does not promise on an NPU."""


def need(condition: bool, what: str) -> None:
    """Refuse unless."""
    if not condition:
        raise RefusedError(what)


def formats(name: str, tensors: tuple, allowed: tuple, same: bool = True) -> None:
    """Refuse other formats than those allowed, and mixtures."""
    found = [t.dtype for t in tensors if isinstance(t, Tensor)]
    for dtype in found:
        need(dtype in allowed, f"{name}: {dtype}, documented are {', '.join(map(str, allowed))}")
    need(not same or len(set(found)) <= 1, f"{name}: formats differ, {found}")


def check_flash_attention(
    query, key, value, head_num, *, scalar_value=1.0, input_layout="BSH", keep_prob=1.0, sparse_mode=0, **others
) -> None:
    """Rules of `ops.flash_attention_score`."""
    name = "flash_attention_score"
    need(not any(x is not None for x in others.values()), f"{name}: {[k for k, v in others.items() if v is not None]}")
    need(keep_prob == 1.0 and sparse_mode == 0, f"{name}: dropout and masks are not used here")
    formats(name, (query, key, value), HALF)
    need(input_layout in _LAYOUTS, f"{name}: no layout {input_layout}")
    need(isinstance(scalar_value, float), f"{name}: scalar_value is no double")
    need(all(x.ndim == _LAYOUTS[input_layout] for x in (query, key, value)), f"{name}: rank for {input_layout}")
    need(input_layout == "BSH", f"{name}: the stand-in knows BSH alone")
    need(key.shape == value.shape and key.shape[0] == query.shape[0], f"{name}: {query.shape} {key.shape}")
    batch, length, width = query.shape
    need(isinstance(head_num, int) and 1 <= head_num <= 256, f"{name}: {head_num} heads, documented are 1 to 256")
    need(width % head_num == 0, f"{name}: {head_num} heads do not divide {width}")
    size = width // head_num
    need(key.shape[2] % size == 0, f"{name}: head sizes differ")
    need(size % 16 == 0 and size <= 512, f"{name}: heads of {size}, documented are multiples of 16 up to 512")
    need(1 <= batch <= 2048 and 1 <= max(length, key.shape[1]) <= 512 * 1024, f"{name}: batch or length")


def flash_attention(query, key, value, head_num, *, scalar_value=1.0, **_) -> Tensor:
    """softmax(q k^T scale) v with scores in float32 and probabilities rounded before their product."""
    half, (batch, length, width) = query.dtype, query.shape
    size = width // head_num
    q, k, v = (
        x.astype(ms.float32).reshape(batch, -1, head_num, size).transpose(0, 2, 1, 3) for x in (query, key, value)
    )
    q, k, v = (x.reshape(batch * head_num, -1, size) for x in (q, k, v))
    scores = _BATCH_PRODUCT_T(q, k) * scalar_value
    p = _SOFTMAX(scores).astype(half).astype(ms.float32)
    out = _BATCH_PRODUCT(p, v).reshape(batch, head_num, length, size).transpose(0, 2, 1, 3)
    return out.reshape(query.shape).astype(half)


# Kept from before anything is replaced.
_BATCH_PRODUCT_T = functools.partial(ops.BatchMatMul.__call__, ops.BatchMatMul(transpose_b=True))
_BATCH_PRODUCT = functools.partial(ops.BatchMatMul.__call__, ops.BatchMatMul())
_SOFTMAX = functools.partial(ops.Softmax.__call__, ops.Softmax(-1))


def _matmul(self, a, b) -> None:
    formats("MatMul", (a, b), (*HALF, ms.float32))
    need(a.ndim == 2 and b.ndim == 2, f"MatMul: ranks {a.ndim} and {b.ndim}")


def _batch_matmul(self, x, y) -> None:
    formats("BatchMatMul", (x, y), (*HALF, ms.float32))
    need(x.ndim == y.ndim >= 2, f"BatchMatMul: ranks {x.ndim} and {y.ndim}")


def _layer_norm(self, x, gamma, beta) -> None:
    formats("LayerNorm", (x, gamma, beta), (ms.float16, ms.float32))
    need(self.begin_norm_axis == self.begin_params_axis, "LayerNorm: on Ascend both axes are equal")


def _bias_add(self, x, bias) -> None:
    need(2 <= x.ndim <= 5 and bias.shape == (x.shape[1],), f"BiasAdd: {x.shape} and {bias.shape}")
    formats("BiasAdd", (x, bias), _FLOATS)


def _conv2d(self, x, weight) -> None:
    formats("Conv2D", (x, weight), (ms.float16, ms.float32))
    need(self.group == 1, "Conv2D: groups on Ascend are depthwise alone")


def _conv2d_function(input, weight, bias=None, stride=1, pad_mode="valid", padding=0, dilation=1, groups=1) -> None:
    need(pad_mode == "valid", "conv2d: pad_mode will be removed")
    formats("conv2d", (input, weight), (ms.float16, ms.float32))


def _max_pool(self, x) -> None:
    formats("MaxPool", (x,), (ms.float16, ms.float32))
    need(x.ndim == 4, f"MaxPool: rank {x.ndim}")


def _adam(self, var, m, v, power1, power2, rate, beta1, beta2, eps, gradient) -> None:
    need(all(isinstance(x, Parameter) for x in (var, m, v)), "Adam: var, m, v are parameters")
    formats("Adam", (var, m, v, gradient), (ms.float16, ms.float32))


def _assign(self, variable, value) -> None:
    need(isinstance(variable, Parameter) and variable.shape == value.shape, f"Assign: {variable.shape}, {value.shape}")
    need(variable.dtype == value.dtype, f"Assign: {value.dtype} to {variable.dtype} is not specified")


def _softplus(input, beta=1, threshold=20) -> None:
    formats("softplus", (input,), (ms.float16, ms.float32))


def _grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None) -> None:
    formats("grid_sample", (input, grid), (ms.float32, ms.bfloat16))
    need(input.ndim == grid.ndim == 4 and grid.shape[-1] == 2, f"grid_sample: {input.shape} and {grid.shape}")
    need(input.shape[0] == grid.shape[0], f"grid_sample: {input.shape[0]} and {grid.shape[0]} samples")
    need(isinstance(align_corners, bool), "grid_sample: align_corners is no boolean")


def _sort(input_x, axis=-1, descending=False) -> None:
    allowed = (ms.float16, ms.uint8, ms.int8, ms.int16, ms.int32, ms.int64)
    formats("sort", (input_x,), allowed)
    need(axis in (-1, input_x.ndim - 1), "sort: on Ascend along the last axis alone")


def _unfold(input, kernel_size, dilation=1, padding=0, stride=1) -> None:
    formats("unfold", (input,), (ms.float16, ms.float32))
    need(input.ndim == 4, f"unfold: rank {input.ndim}")


def _rand(*size, dtype=None, seed=None) -> None:
    raise RefusedError("rand: the seed has no effect on Ascend, a run could not be repeated")


RULES: dict[str, Callable[..., None]] = {
    "ops.flash_attention_score": check_flash_attention,
    "ops.MatMul": _matmul,
    "ops.BatchMatMul": _batch_matmul,
    "ops.LayerNorm": _layer_norm,
    "ops.BiasAdd": _bias_add,
    "ops.Conv2D": _conv2d,
    "ops.conv2d": _conv2d_function,
    "ops.MaxPool": _max_pool,
    "ops.Adam": _adam,
    "ops.Assign": _assign,
    "ops.AssignAdd": _assign,
    "ops.softplus": _softplus,
    "ops.grid_sample": _grid_sample,
    "ops.sort": _sort,
    "ops.unfold": _unfold,
    "ops.rand": _rand,
}
"""What documentation says beyond platforms and names of arguments, by call; a primitive's own attributes in front."""

_COMPUTED = {"ops.flash_attention_score": flash_attention}
"""Calls that have no kernel on a CPU."""


class NPU:
    """The stand-in, once it is in place.

    Attributes:
        seen: how often each call was made.
        formats: of the tensors that each call was given.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.formats: dict[str, set] = {}

    def install(self, monkeypatch) -> NPU:
        """Throw the device's switches and take the place of its calls, until the monkeypatch is undone."""
        asked = ms.get_context
        monkeypatch.setattr(ms, "get_context", lambda key: "Ascend" if key == "device_target" else asked(key))
        for call in calls():
            module, _, name = call.name.partition(".")
            if module not in ("ops", "mint") or not call.kernel or "." in name:
                continue
            if isinstance(call.thing, type):
                monkeypatch.setattr(call.thing, "__call__", self._strict(call, call.thing.__call__), raising=False)
            elif callable(call.thing):
                monkeypatch.setattr(ops, name, self._strict(call, call.thing))
        return self

    def _strict(self, call: Call, original: Callable) -> Callable:
        rule, compute = RULES.get(call.name), _COMPUTED.get(call.name, original)
        problem = "" if "Ascend" in platforms(call.thing) else f"{call.name} is not documented for Ascend"
        problem = problem or (f"{call.name}: {withdrawn(call.thing)}" if withdrawn(call.thing) else "")
        primitive = isinstance(call.thing, type)
        try:
            signature = None if primitive else inspect.signature(original)
        except ValueError:
            signature = None

        @functools.wraps(original)
        def strict(*args, **kwargs):
            self.seen[call.name] += 1
            need(not problem, problem)
            tensors = list(_tensors((args, kwargs)))
            self.formats.setdefault(call.name, set()).update(t.dtype for t in tensors)
            if signature is not None:
                try:
                    signature.bind(*args, **kwargs)
                except TypeError as error:
                    raise RefusedError(f"{call.name}: {error}") from error
            if rule is not None:
                rule(*args, **kwargs)
            halves = [t.dtype for t in tensors if t.dtype in HALF]
            if not halves or call.name in _IN_PLACE or call.name in _COMPUTED:
                return compute(*args, **kwargs)
            wide = any(t.dtype in (ms.float32, ms.float64) and not _is_number(t) for t in tensors)
            out = compute(*_map(args, _widen), **_map(kwargs, _widen))
            return out if wide else _map(out, lambda t: t.astype(halves[0]) if t.dtype == ms.float32 else t)

        return strict


def _is_number(tensor: Tensor) -> bool:
    return tensor.ndim == 0


def _widen(tensor: Tensor) -> Tensor:
    return tensor.astype(ms.float32) if tensor.dtype in HALF else tensor


def _tensors(things: Any):
    if isinstance(things, Tensor):
        yield things
    elif isinstance(things, dict):
        for thing in things.values():
            yield from _tensors(thing)
    elif isinstance(things, (tuple, list)):
        for thing in things:
            yield from _tensors(thing)


def _map(things: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(things, Tensor):
        return change(things)
    if isinstance(things, dict):
        return {key: _map(thing, change) for key, thing in things.items()}
    if isinstance(things, (tuple, list)):
        return type(things)(_map(thing, change) for thing in things)
    return things


def unit_roundoff(dtype: ms.dtype) -> float:
    """Largest relative error of rounding to a format."""
    return {ms.float16: 2.0**-11, ms.bfloat16: 2.0**-8, ms.float32: 2.0**-24}[dtype]
