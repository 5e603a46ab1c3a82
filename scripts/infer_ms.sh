#!/usr/bin/env bash
# Reconstruct pictures with a model trained here: turntable video and mesh in dumps/.
#
#   MODEL_NAME=outputs/2026-01-31T12-00-00 scripts/infer_ms.sh
#   MODEL_NAME=outputs/2026-01-31T12-00-00 EPOCH=40 IMAGE_INPUT=cup.png scripts/infer_ms.sh render_views=80
#   MODEL_NAME=openlrm-e40.ckpt EXPORT_VIDEO=false scripts/infer_ms.sh mesh_format=glb
#
# Further arguments are options of infer.lrm (python -m openlrm.launch infer.lrm --help).
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

EXPORT_VIDEO="${EXPORT_VIDEO:-true}"
EXPORT_MESH="${EXPORT_MESH:-true}"
# Of the model's size: infer-s, infer-b or infer-l.
INFER_CONFIG="${INFER_CONFIG:-$repository/configs/infer-s.yaml}"
# A run folder, or a .ckpt file with config.json beside it or in the folder above.
MODEL_NAME="${MODEL_NAME:?is not set: give the run folder or the .ckpt file}"
# Which checkpoint of a run folder, by name or by epoch; the newest without either.
MODEL_CKPT="${MODEL_CKPT:-}"
EPOCH="${EPOCH:-}"
# A picture or a folder of pictures.
IMAGE_INPUT="${IMAGE_INPUT:-$repository/assets/sample_input}"

exec python -m openlrm.launch infer.lrm --infer "$INFER_CONFIG" \
    model_name="$MODEL_NAME" model_ckpt="$MODEL_CKPT" epoch="$EPOCH" image_input="$IMAGE_INPUT" \
    export_video="$EXPORT_VIDEO" export_mesh="$EXPORT_MESH" "$@"
