# Sourced by scripts/train_*.sh and eval.sh: Ascend settings, each kept when it is set already. A CPU takes no notice.

# Which NPU.
export DEVICE_ID="${DEVICE_ID:-0}"
# Memory in pages that can be put together again.
export MS_ALLOC_CONF="${MS_ALLOC_CONF:-enable_vmm:True;}"
# Data workers apart from the compute process.
export MS_INDEPENDENT_DATASET="${MS_INDEPENDENT_DATASET:-True}"
