"""Materials of what was imported: colours where a mesh has none, and warnings where it looks otherwise than meant."""

import bpy
import numpy as np


def prepare_materials(undefined=()):
    """Show vertex colours where there is no material, and tell what does not look as it was meant.

    Args:
        undefined: names of materials that the file uses without anybody defining them; they count as none.

    Returns:
        Warnings: `material` (something is grey, or in its vertex colours instead) and `texture` (something is pink) ->
        text.
    """
    stored = {_stored_name(name): name for name in undefined}
    seen = {instance.object.original for instance in bpy.context.evaluated_depsgraph_get().object_instances}
    meshes = [item for item in bpy.data.objects if item in seen and item.type == "MESH" and len(item.data.polygons)]
    grey, wanted, shown = 0, set(), set()
    for item in meshes:
        used = _used_slots(item)
        unknown = {slot for slot, material in used.items() if material is not None and material.name in stored}
        wanted.update(stored[used[slot].name] for slot in unknown)
        bare = [slot for slot, material in used.items() if material is None or slot in unknown]
        if bare and item.data.color_attributes:
            _colour(item, bare)
        else:
            grey += bool(bare)
        shown.update(material for material in _used_slots(item).values() if material is not None)
    warnings = {}
    said = [f"{grey} of {len(meshes)} meshes have no material: rendered grey"] if grey else []
    if wanted:
        said.append(f"{len(wanted)} materials are defined nowhere ({', '.join(sorted(wanted)[:3])})")
    if said:
        warnings["material"] = "; ".join(said)
    lost = sorted({name for material in shown for name in _lost_textures(material.node_tree)})
    if lost:
        warnings["texture"] = f"{len(lost)} textures cannot be read: rendered pink ({', '.join(lost[:3])})"
    return warnings


def _stored_name(name):
    """Return a name as Blender keeps it, which holds so many bytes."""
    longest = bpy.types.ID.bl_rna.properties["name"].length_max
    return name.encode()[:longest].decode("utf-8", "ignore")


def _used_slots(item):
    """Return slot -> material or None for the slots that faces of an object have; slot 0 where it has no slots."""
    numbers = np.empty(len(item.data.polygons), np.int32)
    item.data.polygons.foreach_get("material_index", numbers)
    slots = item.material_slots
    # A face without such a slot has the last one's material.
    last = max(len(slots) - 1, 0)
    return {int(number): slots[number].material if len(slots) else None for number in np.unique(numbers.clip(0, last))}


def _colour(item, slots):
    """Give slots of an object its first vertex colours."""
    mesh = item.data
    material = _vertex_colours(mesh.color_attributes[0].name)
    if not mesh.materials:
        mesh.materials.append(material)
    for slot in slots:
        if item.material_slots[slot].link == "OBJECT":
            item.material_slots[slot].material = material
        else:
            mesh.materials[slot] = material


def _vertex_colours(name):
    material = bpy.data.materials.new("vertex colours")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    colours = nodes.new("ShaderNodeVertexColor")
    colours.layer_name = name
    surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    links.new(colours.outputs["Color"], surface.inputs["Base Color"])
    return material


def _lost_textures(tree):
    """Yield the names of pictures that a node tree shows and that are not there, or of a kind nobody reads."""
    todo = [node for node in tree.nodes if node.type in ("OUTPUT_MATERIAL", "GROUP_OUTPUT")] if tree is not None else []
    for node in todo:  # grows: what reaches an output is shown
        if node.type == "GROUP":
            yield from _lost_textures(node.node_tree)
        elif node.type == "TEX_IMAGE":
            picture = node.image
            if picture is None:
                yield node.label or node.name
            elif not (picture.size[0] and picture.size[1]):
                yield picture.name
        before = [link.from_node for end in node.inputs for link in end.links]
        todo += [other for other in dict.fromkeys(before) if other not in todo]
