"""The shape a glTF 2.0 file shows at rest: all triangles of its scene, with instances, morph targets and skins.

Written here because trimesh reads a file with skins, morph weights, instances or compressed meshes as another shape.
Section numbers are those of the specification, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openlrm.geometry.gltf_buffers import Buffers, load_document

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_MOST_VERTICES = 50_000_000  # a small file can show a mesh any number of times

_KNOWN = {"KHR_mesh_quantization", "EXT_mesh_gpu_instancing", "KHR_animation_pointer", "KHR_lights_punctual"}
_LOOKS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_xmp", "EXT_lights_", "EXT_materials_")
_DRACO, _INSTANCING = "KHR_draco_mesh_compression", "EXT_mesh_gpu_instancing"


def read_gltf_shape(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the triangles of the default scene, or of all nodes if the file names none, as Blender does.

    Args:
        path: .glb, or .gltf with its buffers beside or inside it.

    Returns:
        Vertices (V, 3) float64 in glTF's axes, Y up, and faces (F, 3) int64.

    Raises:
        ValueError: a file that breaks the specification, or one that needs an extension that is not known here; the
            extension is named.
        OSError: it or one of its buffers cannot be read.
    """
    document, binary = load_document(path)
    for name in document.get("extensionsRequired", ()):
        if name not in _KNOWN and not name.startswith(_LOOKS):
            raise ValueError(f"it needs the glTF extension {name}, which is not read here: save it without")
    with np.errstate(all="ignore"):  # infinite places are for the caller to look at
        return _Shape(document, Buffers(document, binary, path.parent)).triangles()


class _Shape:
    """Nodes with their places in the world, and the meshes that hang on them."""

    def __init__(self, document: dict[str, Any], buffers: Buffers) -> None:
        self._document, self._buffers = document, buffers
        self._nodes = document.get("nodes", [])
        self._parents = self._find_parents()
        self._places: dict[int, np.ndarray] = {}

    def triangles(self) -> tuple[np.ndarray, np.ndarray]:
        vertices, faces, count = [np.empty((0, 3))], [np.empty((0, 3), np.int64)], 0
        for index in self._shown():
            for points, triangles in self._parts(index):
                vertices.append(points)
                faces.append(triangles + count)
                count += len(points)
                if count > _MOST_VERTICES:
                    raise ValueError(f"more than {_MOST_VERTICES} vertices")
        return np.concatenate(vertices), np.concatenate(faces)

    def _find_parents(self) -> dict[int, int]:
        parents = {child: parent for parent, node in enumerate(self._nodes) for child in node.get("children", ())}
        edges = sum(len(node.get("children", ())) for node in self._nodes)
        if len(parents) < edges or not all(0 <= child < len(self._nodes) for child in parents):
            raise ValueError("its nodes are no trees")
        return parents

    def _shown(self) -> list[int]:
        """Return the nodes that are shown, parents first (3.5.1)."""
        if "scene" in self._document:
            order = list(self._document["scenes"][self._document["scene"]].get("nodes", ()))
        else:
            order = [index for index in range(len(self._nodes)) if index not in self._parents]
        for index in order:  # grows
            order += self._nodes[index].get("children", ())
            if len(order) > len(self._nodes):
                raise ValueError("its nodes are no trees")
        return order

    def _place(self, index: int) -> np.ndarray:
        """Return the (4, 4) matrix from a node to the world."""
        chain = []
        while index not in self._places:
            chain.append(index)
            if index not in self._parents:
                break
            index = self._parents[index]
            if len(chain) > len(self._nodes):
                raise ValueError("its nodes are no trees")
        for index in reversed(chain):
            above = self._places[self._parents[index]] if index in self._parents else np.eye(4)
            self._places[index] = above @ _local(self._nodes[index])
        return self._places[index]

    def _parts(self, index: int):
        """Yield world points and triangles of every primitive and instance of a node's mesh."""
        node = self._nodes[index]
        if "mesh" not in node:
            return
        mesh = self._document["meshes"][node["mesh"]]
        weights = node.get("weights") or mesh.get("weights") or ()
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) not in (_TRIANGLES, _STRIP, _FAN):
                continue
            points = self._morphed(primitive, weights)
            triangles = self._faces(primitive, len(points))
            if "skin" in node and "JOINTS_0" in primitive["attributes"]:
                yield self._skinned(points, primitive["attributes"], self._document["skins"][node["skin"]]), triangles
                continue
            for place in self._place(index) @ self._instances(node):
                yield points @ place[:3, :3].T + place[:3, 3], triangles

    def _morphed(self, primitive: dict[str, Any], weights: list[float]) -> np.ndarray:
        """Return the (V, 3) positions of a primitive under its mesh's weights (3.7.2.2)."""
        index = primitive["attributes"]["POSITION"]
        if _DRACO in primitive.get("extensions", {}) and not self._buffers.is_stored(index):
            raise ValueError(f"it needs the glTF extension {_DRACO}, which is not read here: save it without")
        points = self._buffers.read(index, 3)
        for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
            if weight and "POSITION" in target:
                points = points + weight * self._buffers.read(target["POSITION"], 3)
        return points

    def _faces(self, primitive: dict[str, Any], count: int) -> np.ndarray:
        """Return the (F, 3) triangles of a primitive of so many vertices (3.7.2.1)."""
        if "indices" in primitive:
            corners = self._buffers.read(primitive["indices"], 1)[:, 0].astype(np.int64)
        else:
            corners = np.arange(count)
        if len(corners) and not 0 <= corners.min() <= corners.max() < count:
            raise ValueError(f"faces point to {corners.min()}..{corners.max()} of {count} vertices")
        mode = primitive.get("mode", _TRIANGLES)
        if mode == _TRIANGLES:
            return corners[: len(corners) // 3 * 3].reshape(-1, 3)
        if len(corners) < 3:
            return np.empty((0, 3), np.int64)
        first = np.broadcast_to(corners[0], len(corners) - 2) if mode == _FAN else corners[:-2]
        return np.stack([first, corners[1:-1], corners[2:]], axis=1)

    def _skinned(self, points: np.ndarray, attributes: dict[str, int], skin: dict[str, Any]) -> np.ndarray:
        """Return the (V, 3) world points of a skin, whose own node's place does not count (3.7.3)."""
        bones = np.stack([self._place(joint) for joint in skin["joints"]])
        if "inverseBindMatrices" in skin:
            # Stored by columns.
            bones = bones @ self._buffers.read(skin["inverseBindMatrices"], 16).reshape(-1, 4, 4).swapaxes(1, 2)
        sets = range(sum(name.startswith("JOINTS_") for name in attributes))
        joints = np.concatenate([self._buffers.read(attributes[f"JOINTS_{i}"], 4) for i in sets], axis=1).astype(int)
        weights = np.concatenate([self._buffers.read(attributes[f"WEIGHTS_{i}"], 4) for i in sets], axis=1)
        weights[weights.sum(axis=1) == 0, 0] = 1  # as Blender has it: such a vertex hangs on its first joint
        weights /= weights.sum(axis=1, keepdims=True)
        moved = np.zeros_like(points)
        for joint, weight in zip(joints.T, weights.T, strict=True):
            bone = bones[joint]
            moved += weight[:, None] * (np.einsum("vij,vj->vi", bone[:, :3, :3], points) + bone[:, :3, 3])
        return moved

    def _instances(self, node: dict[str, Any]) -> np.ndarray:
        """Return the (N, 4, 4) places of a mesh in its node: one, or those of EXT_mesh_gpu_instancing."""
        attributes = node.get("extensions", {}).get(_INSTANCING, {}).get("attributes", {})
        parts = {
            name.lower(): self._buffers.read(attributes[name], width)
            for name, width in (("TRANSLATION", 3), ("ROTATION", 4), ("SCALE", 3))
            if name in attributes
        }
        if not parts:
            return np.eye(4)[None]
        return np.stack([_local(dict(zip(parts, values, strict=True))) for values in zip(*parts.values(), strict=True)])


def _local(node: dict[str, Any]) -> np.ndarray:
    """Return the (4, 4) matrix of a node in its parent (3.5.3)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
