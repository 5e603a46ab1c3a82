"""Where silhouettes pass between two pixels, and blending there: loops compiled by numba, in float64."""

import math

import numpy as np
from numba import njit

from openlrm.utils.compiled import compiled

FOOTPRINTS = 8.0
"""Widths of a pixel that what a pixel sees may be before or behind an edge and still be its surface."""


@njit
def _side(p, q, r):
    """Sign of the side of the plane through the camera, p and q that r is on."""
    volume = (
        (p[1] * q[2] - p[2] * q[1]) * r[0] + (p[2] * q[0] - p[0] * q[2]) * r[1] + (p[0] * q[1] - p[1] * q[0]) * r[2]
    )
    return 1 if volume > 0 else (-1 if volume < 0 else 0)


@compiled()
def list_edges(faces, count, ends, firsts, opposites):
    """Edges by their lower, then their higher vertex, with the faces at each; returns their number E.

    Args:
        faces: (F, 3).
        count: of vertices.
        ends: (at least E, 2) int32, written.
        firsts: (at least E + 1,) int64, written: where each edge's faces begin in `opposites`.
        opposites: (3 F,) int32, written: vertices of the faces that are not on the edge.
    """
    starts = np.zeros(count + 2, np.int64)
    for f in range(len(faces)):
        for k in range(3):
            starts[min(faces[f, k], faces[f, (k + 1) % 3]) + 2] += 1
    for v in range(2, count + 2):
        starts[v] += starts[v - 1]
    highs, thirds = np.empty(3 * len(faces), np.int32), np.empty(3 * len(faces), np.int32)
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            slot = starts[min(a, b) + 1]
            highs[slot], thirds[slot] = max(a, b), faces[f, (k + 2) % 3]
            starts[min(a, b) + 1] += 1
    edges = 0
    for v in range(count):
        start, stop = starts[v], starts[v + 1]
        order = np.argsort(highs[start:stop])
        previous = -1
        for i in range(stop - start):
            slot = start + order[i]
            opposites[start + i] = thirds[slot]
            if highs[slot] != previous:
                previous = highs[slot]
                ends[edges, 0], ends[edges, 1] = v, previous
                firsts[edges] = start + i
                edges += 1
    firsts[edges] = 3 * len(faces)
    return edges


@compiled()
def find_pairs(ends, firsts, opposites, points, screen, lens, near, face, depth, pairs, places):
    """Neighbouring pixels that a silhouette passes between.

    Args:
        ends: (E, 2) vertices of each edge.
        firsts: (E + 1,) where each edge's faces begin in `opposites`.
        opposites: vertices of the faces that are not on the edge.
        points: (V, 3) vertices in the camera's axes.
        screen: (V, 2) columns and rows of the vertices.
        lens: (4,) focal lengths and principal point in pixels.
        near: least depth of an edge's ends.
        face: (H, W) seen by each pixel; -1: none.
        depth: (H, W) of it.
        pairs: (2 H W,) int32, written: edge between a pixel and its right neighbour, then, H W further, its lower
            one; -1: none.
        places: (2 H W,) float64, written: distance of the crossing from the near pixel, 0..1, and negative where the
            near pixel is the second.
    """
    height, width = face.shape
    pairs[:] = -1
    for edge in range(len(ends)):
        a, b = ends[edge]
        p, q = points[a], points[b]
        if -p[2] < near or -q[2] < near:
            continue
        before, behind = False, False
        for i in range(firsts[edge], firsts[edge + 1]):
            side = _side(p, q, points[opposites[i]])
            before |= side > 0
            behind |= side < 0
        if before == behind:
            continue
        side = 1 if before else -1
        dx, dy = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
        # Lines of pixel centres the edge crosses: rows (axis 0) if it is steep.
        steep = abs(dy) >= abs(dx)
        across, along = (0, 1) if steep else (1, 0)
        span = screen[b, along] - screen[a, along]
        if span == 0:
            continue
        # How the side changes from one pixel to the next; picture rows run against the camera's y.
        change = p[1] * q[2] - p[2] * q[1] if steep else p[0] * q[2] - p[2] * q[0]
        towards_second = side * change > 0
        low, high = min(screen[a, along], screen[b, along]), max(screen[a, along], screen[b, along])
        lines = height if steep else width
        for line in range(max(math.ceil(low - 0.5), 0), min(math.ceil(high - 0.5), lines)):
            share = (line + 0.5 - screen[a, along]) / span
            crossing = screen[a, across] + share * (screen[b, across] - screen[a, across])
            first = math.floor(crossing - 0.5)
            if first < 0 or first + 1 >= (width if steep else height):
                continue
            near_pixel = (line, first) if steep else (first, line)
            other = (line, first + 1) if steep else (first + 1, line)
            slot = near_pixel[0] * width + near_pixel[1] + (0 if steep else height * width)
            place = crossing - 0.5 - first
            if towards_second:
                near_pixel, other, place = other, near_pixel, 1 - place
            if face[near_pixel] < 0 or face[near_pixel] == face[other]:
                continue
            edge_depth = 1 / ((1 - share) / -p[2] + share / -q[2])
            if abs(depth[near_pixel] - edge_depth) > FOOTPRINTS * edge_depth / lens[across]:
                continue
            if face[other] >= 0 and depth[other] <= edge_depth:
                continue
            if pairs[slot] < 0 or place > abs(places[slot]):
                pairs[slot] = edge
                places[slot] = -place if towards_second else place


@njit
def _pixels(slot, height, width, place):
    """Flat indices of the near and the other pixel of a pair, whether it is horizontal, the line it lies in."""
    steep = slot < height * width
    first = slot if steep else slot - height * width
    second = first + (1 if steep else width)
    line = first // width if steep else first % width
    return (first, second, steep, line) if not np.signbit(place) else (second, first, steep, line)


@compiled()
def blend(image, pairs, places, out):
    """Mix the values of pixels that a silhouette passes between by the area on each side.

    Args:
        image: (H, W, C).
        pairs: of `find_pairs`.
        places: of `find_pairs`.
        out: (H, W, C), written.
    """
    height, width, channels = image.shape
    source, target = image.reshape(-1, channels), out.reshape(-1, channels)
    target[:] = source
    for slot in range(len(pairs)):
        if pairs[slot] < 0:
            continue
        near, other, _, _ = _pixels(slot, height, width, places[slot])
        share = abs(places[slot]) - 0.5
        for c in range(channels):
            change = share * (source[near, c] - source[other, c])
            target[other if share > 0 else near, c] += change


@compiled()
def blend_gradient(image, pairs, places, ends, points, screen, lens, dout, dimage, dpoints):
    """Gradient of `blend` for the image and, through the crossings, the edges' ends.

    Args:
        image: (H, W, C).
        pairs: of `find_pairs`.
        places: of `find_pairs`.
        ends: (E, 2).
        points: (V, 3) in the camera's axes.
        screen: (V, 2).
        lens: (4,).
        dout: (H, W, C).
        dimage: (H, W, C), written.
        dpoints: (V, 3) float64, added to, in the camera's axes.
    """
    height, width, channels = image.shape
    source, pull, target = image.reshape(-1, channels), dout.reshape(-1, channels), dimage.reshape(-1, channels)
    target[:] = pull
    for slot in range(len(pairs)):
        if pairs[slot] < 0:
            continue
        near, other, steep, line = _pixels(slot, height, width, places[slot])
        share = abs(places[slot]) - 0.5
        changed = other if share > 0 else near
        dplace = 0.0
        for c in range(channels):
            target[near, c] += share * pull[changed, c]
            target[other, c] -= share * pull[changed, c]
            dplace += pull[changed, c] * (source[near, c] - source[other, c])
        dcrossing = -dplace if np.signbit(places[slot]) else dplace
        a, b = ends[pairs[slot]]
        across, along = (0, 1) if steep else (1, 0)
        span = screen[b, along] - screen[a, along]
        part = (line + 0.5 - screen[a, along]) / span
        slope = (screen[b, across] - screen[a, across]) / span
        _move_end(a, (1 - part) * dcrossing, across, slope, points, lens, dpoints)
        _move_end(b, part * dcrossing, across, slope, points, lens, dpoints)


@njit
def _move_end(v, pull, across, slope, points, lens, dpoints):
    """Gradient of a crossing that an end moves across by `pull`, and along the edge by -slope times that."""
    depth = -points[v, 2]
    dx, dy = (pull, -slope * pull) if across == 0 else (-slope * pull, pull)
    dpoints[v, 0] += dx * lens[0] / depth
    dpoints[v, 1] -= dy * lens[1] / depth
    dpoints[v, 2] += (dx * lens[0] * points[v, 0] - dy * lens[1] * points[v, 1]) / depth**2
