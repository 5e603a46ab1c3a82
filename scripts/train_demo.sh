#!/usr/bin/env bash
# Make the demonstration model from nothing: render the objects, train. Some two hours on two cores.
#
#   scripts/train_demo.sh
#   OBJECTS=/data/glbs scripts/train_demo.sh train.train_steps=8000
#
# Further arguments are options of train.lrm. Both parts go on where they stopped: add --resume latest for the second.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$repository/scripts/ascend_env.sh"

# Folder of the CC0 objects.
OBJECTS="${OBJECTS:-$repository/../shared/data/objects}"

cd "$repository"
python -m openlrm.launch render.objaverse --input "$OBJECTS" --output outputs/demo/renders val_share=0 \
    render.views=48 render.level_views=16 render.resolution=128 render.samples=8
exec python -m openlrm.launch train.lrm --config configs/train-demo.yaml "$@"
