"""Both passes of the volume renderer over rays as one operation with a gradient: numpy and compiled loops inside.

A step's samples times the decoder's width never exist in memory: each ray is finished before the next begins, and
the gradient computes it again. Small model, 4 views of 64 x 64: 1.6 M samples x 64 numbers x 4 layers is 1.6 GB.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.ops.host.arrays import check_array, host_array
from openlrm.representations.triplane.host.field import DECODER_NAMES, Field, FieldGradient, lay_out, unfold
from openlrm.utils.threads import host_threads, spread, spread_ranges

# Rays of one task.
_TASK_RAYS = 64


class HostMarch(nn.Cell):
    """Colour, depth and weight of rays; PyNative on a CPU. Gradient for planes and decoder, none for the rays."""

    def construct(self, planes: Tensor, rays: Tensor, noise: Tensor, u: Tensor, *decoder: Tensor) -> tuple:
        """March rays.

        Args:
            planes: (N, 3, C, H, H).
            rays: (N, B, 8): origin, unit direction, near, far.
            noise: (N, B, S) in [0, 1), stratified.
            u: (N, B, S) in [0, 1), importance, in any order.
            *decoder: weights of the field's decoder, in the order of `DECODER_NAMES`.

        Returns:
            (N, B, 5): colour without background, weighted depth, total weight; (N, B, 2 S): depths of the samples.
        """
        from openlrm.representations.triplane.host.render import render_rays

        names = dict(zip(DECODER_NAMES, map(host_array, decoder), strict=True))
        rays, noise, u = host_array(rays), host_array(noise), np.sort(host_array(u), axis=-1)
        objects, count, samples = noise.shape
        check_array(rays, "rays", (objects, count, 8))
        check_array(u, "u", noise.shape)
        mixed = np.empty((objects, count, 5), np.float32)
        depths = np.empty((objects, count, 2 * samples), np.float32)
        for i, of_object in enumerate(host_array(planes)):
            field = lay_out(of_object, names)

            def render(first: int, last: int, i: int = i, field=field) -> None:
                part = (i, slice(first, last))
                render_rays(field, rays[part], noise[part], u[part], mixed[part], depths[part])

            spread_ranges(render, count, _TASK_RAYS)
        return Tensor.from_numpy(mixed), Tensor.from_numpy(depths)

    def bprop(self, planes, rays, noise, u, *rest) -> tuple:
        """Gradients of the arguments; zeros for rays, noise and u."""
        from openlrm.representations.triplane.host.gradient import backpropagate_rays

        *decoder, out, dout = rest
        names = dict(zip(DECODER_NAMES, map(host_array, decoder), strict=True))
        transposed = [names[f"net.{layer}.weight"].reshape(-1) for layer in (2, 4)]
        where, depths, of_mixed = host_array(rays), host_array(out[1]), host_array(dout[0])
        plane_array = host_array(planes)
        of_planes, of_decoder = np.empty(planes.shape, np.float32), None
        for i, of_object in enumerate(plane_array):
            field = lay_out(of_object, names)
            sums = [_zeros_like(field) for _ in range(host_threads())]

            def backpropagate(share: int, i: int = i, field=field, sums=sums) -> None:
                # A fixed share of the rays for each sum: the same result however the threads run.
                for first in range(share * _TASK_RAYS, depths.shape[1], len(sums) * _TASK_RAYS):
                    part = (i, slice(first, first + _TASK_RAYS))
                    backpropagate_rays(field, *transposed, where[part], depths[part], of_mixed[part], sums[share])

            spread(backpropagate, len(sums))
            total = FieldGradient(*(np.sum(parts, axis=0) for parts in zip(*sums, strict=True)))
            of_planes[i], weights = unfold(total, of_object, names["net.0.weight"])
            of_decoder = weights if of_decoder is None else [a + b for a, b in zip(of_decoder, weights, strict=True)]
        gradients = [Tensor.from_numpy(np.ascontiguousarray(array)) for array in (of_planes, *of_decoder)]
        return gradients[0], ops.zeros_like(rays), ops.zeros_like(noise), ops.zeros_like(u), *gradients[1:]


def _zeros_like(field: Field) -> FieldGradient:
    return FieldGradient(*(np.zeros_like(getattr(field, name)) for name in FieldGradient._fields))
