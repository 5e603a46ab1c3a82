"""Choose and set up the device MindSpore runs on."""

import glob
import os

# MindSpore's C++ side warns about every optional plugin it does not find; errors stay visible.
os.environ.setdefault("GLOG_v", "3")

import mindspore as ms

from openlrm.errors import UserError

DEVICE_TARGETS = ("Ascend", "CPU")


@ms.ops.constexpr
def on_ascend() -> bool:
    """Whether kernels run on an Ascend NPU; in graph mode a constant that is evaluated while compiling."""
    return ms.get_context("device_target") == "Ascend"


@ms.ops.constexpr
def host_kernels() -> bool:
    """Whether compiled loops on numpy arrays may stand for kernels: PyNative on a CPU."""
    return ms.get_context("device_target") == "CPU" and ms.get_context("mode") == ms.PYNATIVE_MODE


def renders_on_host() -> bool:
    """Whether inference renders faster with the host's compiled loops: beside every device but an Ascend NPU."""
    return not on_ascend()


def fuses_layers() -> bool:
    """Whether layers without a gradient go through `openlrm.ops.fused`."""
    return host_kernels()


def marches_on_host() -> bool:
    """Whether rays in training are gone through one by one by compiled loops, which keep no samples."""
    return host_kernels()


def ascend_available() -> bool:
    """Whether this machine has an Ascend NPU that MindSpore can open.

    The device files are looked at first: asking MindSpore on a machine without an NPU prints plugin errors.
    """
    return bool(glob.glob("/dev/davinci[0-9]*")) and ms.hal.is_available("Ascend")


def setup_device(device_target: str | None = None, mode: int = 1, device_id: int | None = None) -> str:
    """Select device and execution mode for this process; the device once, the mode as often as one likes.

    On a CPU the asynchronous PyNative pipeline is switched off: its two waiting threads spin and take half of a
    small machine from the kernels (3072x512x2048 product, two cores: 107 GFLOP/s with it, 213 without).

    Args:
        device_target: "Ascend", "CPU", or None: Ascend when there is one, CPU otherwise.
        mode: 0 graph, 1 PyNative.
        device_id: number of the NPU; without it the first or, under msrun, this worker's. Nothing to a CPU.

    Returns:
        The device target in use.

    Raises:
        UserError: unknown target or mode, an Ascend asked for that is not there, or another device than the one this
            process works on.
    """
    if mode not in (0, 1):
        raise UserError(f"mode={mode} is not an execution mode", hint="use mode=0 (graph) or mode=1 (PyNative)")
    if device_target is None:
        device_target = "Ascend" if ascend_available() else "CPU"
    if device_target not in DEVICE_TARGETS:
        raise UserError(
            f"device_target={device_target} is not supported", hint=f"use one of {', '.join(DEVICE_TARGETS)}"
        )
    if device_target == "Ascend" and not ascend_available():
        raise UserError(
            "device_target=Ascend, but no Ascend NPU was found",
            hint="use device_target=CPU, or check the driver and CANN installation (npu-smi info)",
        )
    _select(device_target, device_id)
    if ms.get_context("mode") != mode:
        ms.set_context(mode=mode)
    return device_target


_selected: list[str] = []
"""The device that `setup_device` has selected, once it has."""


def _select(device_target: str, device_id: int | None) -> None:
    """Tell MindSpore its device, once: when it has begun to work it refuses to hear even the same again."""
    if not _selected:
        in_use = ms.get_context("device_target")
        try:
            if device_id is None or device_target == "CPU":
                ms.set_device(device_target)
            else:
                ms.set_device(device_target, device_id)
        except RuntimeError as error:
            # No fault where the caller has worked with MindSpore before, on the same device.
            if in_use != device_target:
                reason = str(error).strip().partition("\n")[0]
                raise UserError(
                    f"MindSpore does not take device_target={device_target} ({reason})",
                    hint=f"this process is on {in_use}: start another, and check the installation",
                ) from error
        _selected.append(device_target)
        if device_target == "CPU":
            ms.runtime.launch_blocking()
        else:
            # float32 convolutions would be rounded to HF32, 11 bits, by CANN's default.
            ms.device_context.ascend.op_precision.conv_allow_hf32(False)
    elif _selected[0] != device_target:
        raise UserError(
            f"device_target={device_target}, but this process works on {_selected[0]}", hint="start another process"
        )
