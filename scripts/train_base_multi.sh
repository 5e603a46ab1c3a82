#!/usr/bin/env bash
# Train the base model on several devices; further arguments are options of train.lrm.
#
#   scripts/train_base_multi.sh
#   DEVICES=4 scripts/train_base_multi.sh 'data.subsets=[{root_dirs: [/data/objaverse]}]' train.batch_size=4
#   scripts/train_base_multi.sh --resume latest
#
# train.batch_size is that of one device. scripts/workers.sh says what else can be set.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$repository"
exec scripts/workers.sh train.lrm --config configs/train-sample-base.yaml --use_parallel true "$@"
