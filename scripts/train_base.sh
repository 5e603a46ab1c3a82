#!/usr/bin/env bash
# Train the base model on one device; further arguments are options of train.lrm.
#
#   scripts/train_base.sh
#   DEVICE_ID=3 scripts/train_base.sh 'data.subsets=[{root_dirs: [/data/objaverse]}]' train.batch_size=4
#   scripts/train_base.sh --resume latest
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$repository/scripts/ascend_env.sh"
cd "$repository"
exec python -m openlrm.launch train.lrm --config configs/train-sample-base.yaml "$@"
