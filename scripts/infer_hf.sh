#!/usr/bin/env bash
# Reconstruct pictures with a released model: turntable video and mesh in dumps/.
#
#   scripts/infer_hf.sh
#   MODEL_NAME=zxhezexin/openlrm-obj-small-1.1 INFER_CONFIG=configs/infer-s.yaml scripts/infer_hf.sh
#   IMAGE_INPUT=cup.png EXPORT_VIDEO=false scripts/infer_hf.sh mesh_size=256 mesh_format=glb
#
# Further arguments are options of infer.lrm (python -m openlrm.launch infer.lrm --help).
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

EXPORT_VIDEO="${EXPORT_VIDEO:-true}"
EXPORT_MESH="${EXPORT_MESH:-true}"
# Of the model's size: infer-s, infer-b or infer-l.
INFER_CONFIG="${INFER_CONFIG:-$repository/configs/infer-b.yaml}"
# A hub id, or a folder with config.json and model.safetensors.
MODEL_NAME="${MODEL_NAME:-zxhezexin/openlrm-mix-base-1.1}"
# A picture or a folder of pictures.
IMAGE_INPUT="${IMAGE_INPUT:-$repository/assets/sample_input}"

exec python -m openlrm.launch infer.lrm --infer "$INFER_CONFIG" \
    model_name="$MODEL_NAME" image_input="$IMAGE_INPUT" \
    export_video="$EXPORT_VIDEO" export_mesh="$EXPORT_MESH" "$@"
