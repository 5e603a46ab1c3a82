#!/usr/bin/env bash
# Train the large model on one device; further arguments are options of train.lrm.
#
#   scripts/train_large.sh
#   DEVICE_ID=3 scripts/train_large.sh 'data.subsets=[{root_dirs: [/data/objaverse]}]' train.batch_size=4
#   scripts/train_large.sh --resume latest
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$repository/scripts/ascend_env.sh"
cd "$repository"
exec python -m openlrm.launch train.lrm --config configs/train-sample-large.yaml "$@"
