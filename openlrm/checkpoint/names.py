"""Parameter names of other programs, translated to ours (which are mostly the released checkpoints' own).

All functions take and give a dict of name -> array and read no files.
"""

import numpy as np

from openlrm.errors import UserError

Tensors = dict[str, np.ndarray]
"""Name -> array."""
ENCODER = "encoder.model."
"""What is in front of the names of a model's encoder."""

# Below `encoder.model.`: ours, then Hugging Face's. Entries with {i} stand for every block.
_HF_SHARED = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "norm.": "layernorm.",
    "blocks.{i}.attn.proj.": "encoder.layer.{i}.attention.output.dense.",
}
_HF_DINOV2 = _HF_SHARED | {
    "blocks.{i}.norm1.": "encoder.layer.{i}.norm1.",
    "blocks.{i}.norm2.": "encoder.layer.{i}.norm2.",
    "blocks.{i}.ls1.gamma": "encoder.layer.{i}.layer_scale1.lambda1",
    "blocks.{i}.ls2.gamma": "encoder.layer.{i}.layer_scale2.lambda1",
    "blocks.{i}.mlp.fc1.": "encoder.layer.{i}.mlp.fc1.",
    "blocks.{i}.mlp.fc2.": "encoder.layer.{i}.mlp.fc2.",
    "blocks.{i}.mlp.w12.": "encoder.layer.{i}.mlp.weights_in.",
    "blocks.{i}.mlp.w3.": "encoder.layer.{i}.mlp.weights_out.",
}
_HF_VIT = _HF_SHARED | {
    "blocks.{i}.norm1.": "encoder.layer.{i}.layernorm_before.",
    "blocks.{i}.norm2.": "encoder.layer.{i}.layernorm_after.",
    "blocks.{i}.mlp.fc1.": "encoder.layer.{i}.intermediate.dense.",
    "blocks.{i}.mlp.fc2.": "encoder.layer.{i}.output.dense.",
    "blocks.{i}.adaLN_modulation.": "encoder.layer.{i}.adaLN_modulation.",
}
_QKV = ("query", "key", "value")
# Entries of published encoders that no model here has a use for: the mask token, heads, poolers.
_ENCODER_EXTRA = ("mask_token", "embeddings.mask_token", "pooler.", "head.", "classifier.")

# What optimisers and loops of MindSpore write into the same .ckpt.
_STATE_PREFIXES = (
    "adam_",
    "adam.",
    "adamw_",
    "moment1.",
    "moment2.",
    "moments.",
    "ema.",
    "optimizer.",
    "scaler.",
)
_STATE_NAMES = {
    "beta1_power",
    "beta2_power",
    "current_iterator_step",
    "epoch_num",
    "global_step",
    "last_overflow_iterator_step",
    "learning_rate",
    "loss_scale",
    "scale_sense",
    "step_num",
    "current_step",
    "scale_window",
    "cur_step",
    "ema_decay",
}
_WRAPPERS = ("lrm_generator.", "network.", "module.", "model.")
_COMPILED = "_orig_mod."  # torch.compile puts it in front of whatever was compiled


def plain_names(tensors: Tensors, expected: set[str]) -> Tensors:
    """Names of a checkpoint without what loops and frameworks add to them.

    Takes off wrappers' prefixes (`lrm_generator.`, torch.compile's `_orig_mod.`), drops optimiser state and counters,
    unpacks an encoder in Hugging Face's layout, and turns MindSpore's norm names gamma/beta into weight/bias.

    Args:
        tensors: what the file holds.
        expected: the model's parameter names; they tell a LayerScale's gamma from a norm's.

    Returns:
        Renamed entries, values untouched.

    Raises:
        UserError: two entries of one name.
    """
    plain: Tensors = {}
    for name, value in tensors.items():
        name = name.replace(_COMPILED, "")
        while name.startswith(_WRAPPERS):
            name = name.split(".", 1)[1]
        if name in _STATE_NAMES or name.startswith(_STATE_PREFIXES):
            continue
        _put(plain, name, value)
    encoder = {k.removeprefix(ENCODER): v for k, v in plain.items() if k.startswith(ENCODER)}
    if any(k.startswith("embeddings.") for k in encoder):
        rest = {k: v for k, v in plain.items() if not k.startswith(ENCODER)}
        plain = rest | {ENCODER + k: v for k, v in encoder_from_published(encoder).items()}
    renamed: Tensors = {}
    for name, value in plain.items():
        if name not in expected:
            for theirs, ours in ((".gamma", ".weight"), (".beta", ".bias")):
                if name.endswith(theirs) and name.removesuffix(theirs) + ours in expected:
                    name = name.removesuffix(theirs) + ours
        _put(renamed, name, value)
    return renamed


def _put(tensors: Tensors, name: str, value: np.ndarray) -> None:
    if name in tensors:
        raise UserError(f"{name} is there twice, with a prefix and without", hint="keep one of the two models")
    tensors[name] = value


def encoder_from_published(tensors: Tensors) -> Tensors:
    """Names of a published encoder (Meta's DINOv2, Hugging Face's DINOv2 or ViT) -> ours, without a prefix."""
    tensors = {name.replace(_COMPILED, ""): value for name, value in tensors.items()}
    bare = {
        _strip(name, ("module.", "model.", "dinov2_with_registers.", "dinov2.", "vit.")): v
        for name, v in tensors.items()
    }
    bare = {name: v for name, v in bare.items() if not name.startswith(_ENCODER_EXTRA)}
    if not any(name.startswith("embeddings.") for name in bare):
        return bare
    table = _HF_VIT if any(".layernorm_before." in name for name in bare) else _HF_DINOV2
    out = {}
    for name, value in bare.items():
        block = _block_of(name, "encoder.layer.")
        if ".attention.attention." in name:
            if ".query." not in name:
                continue
            kind = name.rsplit(".", 1)[1]
            out[f"blocks.{block}.attn.qkv.{kind}"] = np.concatenate(
                [bare[name.replace(".query.", f".{part}.")] for part in _QKV if _has(bare, name, part)]
            )
            continue
        out[_translate(name, block, {theirs: ours for ours, theirs in table.items()})] = value
    return out


def encoder_to_vit(tensors: Tensors) -> Tensors:
    """Names of a model's encoder -> those of Hugging Face's ViT, as models with a DINO encoder are released."""
    out = {}
    for name, value in tensors.items():
        if not name.startswith(ENCODER):
            out[name] = value
            continue
        bare = name.removeprefix(ENCODER)
        block = _block_of(bare, "blocks.")
        if ".attn.qkv." in bare:
            kind = bare.rsplit(".", 1)[1]
            for part, chunk in zip(_QKV, np.split(value, 3), strict=True):
                out[f"{ENCODER}encoder.layer.{block}.attention.attention.{part}.{kind}"] = chunk
        else:
            out[ENCODER + _translate(bare, block, _HF_VIT)] = value
    return out


def _strip(name: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    return name


def _has(tensors: Tensors, query_name: str, part: str) -> bool:
    return query_name.replace(".query.", f".{part}.") in tensors


def _block_of(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).split(".", 1)[0] if name.startswith(prefix) else ""


def _translate(name: str, block: str, table: dict[str, str]) -> str:
    """Name by the table's first entry that fits; unchanged without one, so that a strict load lists it."""
    for source, target in table.items():
        source, target = source.replace("{i}", block), target.replace("{i}", block)
        if name == source or (source.endswith(".") and name.startswith(source)):
            return target + name.removeprefix(source)
    return name
