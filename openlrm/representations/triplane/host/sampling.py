"""Compiled loops along a ray: weights of its intervals, and where the second pass samples.

The maths is that of openlrm.representations.triplane, which names the sources.
"""

from numba import njit

from openlrm.ops.host.functions import EXACT, exponential, f32, softplus


@njit(fastmath=EXACT)
def interval_weights(raw, depths, weights):
    """Alpha of each interval times the transmittance before it."""
    for i in range(len(depths) - 1):
        density = softplus((raw[i] + raw[i + 1]) * f32(0.5) - f32(1))
        weights[i] = f32(1) - exponential(-density * (depths[i + 1] - depths[i]))
    transmittance = f32(1)
    for i in range(len(depths) - 1):
        alpha = weights[i]
        weights[i] = alpha * transmittance
        transmittance *= f32(1) - alpha + f32(1e-10)


@njit(fastmath=EXACT)
def importance_depths(depths, weights, u, cdf, fine):
    """Depths at increasing u of the widened weights, entry k at midpoint k (the released models' shift)."""
    last = len(weights) - 1
    total = f32(0)
    cdf[0] = f32(0)
    for i in range(1, last):
        # Mean of two running maxima of two; the outermost weights count twice.
        smooth = (max(weights[i - 1], weights[i]) + max(weights[i], weights[i + 1])) * f32(0.5) + f32(0.01)
        total += smooth + f32(1e-5)
        cdf[i] = total
    for i in range(1, last):
        cdf[i] /= total
    above = 0
    for k in range(len(fine)):
        while above < last and cdf[above] <= u[k]:
            above += 1
        low, high = max(above - 1, 0), min(above, last - 1)
        step = cdf[high] - cdf[low]
        if step < f32(1e-5):
            step = f32(1)
        start, stop = (depths[low] + depths[low + 1]) * f32(0.5), (depths[high] + depths[high + 1]) * f32(0.5)
        fine[k] = start + (u[k] - cdf[low]) / step * (stop - start)


@njit
def merge(coarse, fine, order, depths):
    """Merge two increasing lists; `order` says where in (coarse, fine) each comes from."""
    i, j = 0, 0
    for k in range(len(depths)):
        if j == len(fine) or (i < len(coarse) and coarse[i] <= fine[j]):
            order[k], depths[k] = i, coarse[i]
            i += 1
        else:
            order[k], depths[k] = len(coarse) + j, fine[j]
            j += 1
