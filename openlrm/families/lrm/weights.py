"""Parameter names of an LRM in other programs, translated to ours (which are the released checkpoints' own)."""

from openlrm.checkpoint.names import Tensors, encoder_to_vit, plain_names

from_checkpoint = plain_names
"""Names of any checkpoint of an LRM -> ours."""


def to_release(tensors: Tensors, encoder_type: str) -> Tensors:
    """Our names -> the released layout: the same, but for models with a DINO encoder, whose keys are ViT's."""
    return encoder_to_vit(tensors) if encoder_type == "dino" else dict(tensors)
