#!/usr/bin/env bash
# Train the tiny model on one device; further arguments are options of train.lrm.
#
#   scripts/train_tiny.sh
#   DEVICE_ID=3 scripts/train_tiny.sh 'data.subsets=[{root_dirs: [/data/objaverse]}]' train.batch_size=4
#   scripts/train_tiny.sh --resume latest
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Ascend: which NPU, memory in pages that can be put together again, data workers apart from the compute process.
# A CPU takes no notice of them.
export DEVICE_ID="${DEVICE_ID:-0}"
export MS_ALLOC_CONF="${MS_ALLOC_CONF:-enable_vmm:True;}"
export MS_INDEPENDENT_DATASET="${MS_INDEPENDENT_DATASET:-True}"

cd "$repository"
exec python -m openlrm.launch train.lrm --config configs/train-sample-tiny.yaml "$@"
