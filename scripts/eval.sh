#!/usr/bin/env bash
# Measure a model on rendered objects: figures, protocol and comparison sheets in OUTPUT_PATH/e<epoch>/.
#
#   MODEL_PATH=outputs/small/2026-01-31T12-00-00 scripts/eval.sh
#   MODEL_PATH=outputs/small/2026-01-31T12-00-00 CKPT_NAME=openlrm-e40.ckpt OUTPUT_PATH=output/small scripts/eval.sh
#   DEVICE_ID=3 MODEL_PATH=zxhezexin/openlrm-obj-small-1.1 scripts/eval.sh data_root=/data/held_out render_size=192
#
# Further arguments are options of eval.lrm (python eval.py --help).
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$repository/scripts/ascend_env.sh"

# A run folder, a released folder, a .ckpt file or a hub id.
MODEL_PATH="${MODEL_PATH:?is not set: give the run folder, a released folder or a hub id}"
# Which checkpoint of a run folder; the newest without it.
CKPT_NAME="${CKPT_NAME:-}"
# outputs/eval/<model> without it.
OUTPUT_PATH="${OUTPUT_PATH:-}"

exec python "$repository/eval.py" \
    model_path="$MODEL_PATH" ckpt_name="$CKPT_NAME" output_path="$OUTPUT_PATH" "$@"
