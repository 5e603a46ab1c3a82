#!/usr/bin/env bash
# Start a runner on several devices of this machine, or of several machines; the arguments are openlrm.launch's.
#
#   scripts/workers.sh train.lrm --config configs/train-sample-small.yaml
#   DEVICES=4 scripts/workers.sh eval.lrm model_path=outputs/small/2026-01-31T12-00-00 data_root=/data/held_out
#   DEVICES=16 LOCAL_DEVICES=8 MASTER_ADDR=10.0.0.1 NODE_RANK=1 scripts/workers.sh train.lrm ...   # the second of two
#
# Ctrl-C and SIGTERM reach the workers, which save and stop; msrun on its own would kill them.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$repository/scripts/ascend_env.sh"

# Workers in all, one a device; those of this machine.
DEVICES="${DEVICES:-8}"
LOCAL_DEVICES="${LOCAL_DEVICES:-$DEVICES}"
# Where the workers meet: the same on every machine. NODE_RANK is the number of this one.
MASTER_ADDR="${MASTER_ADDR:-127.0.0.1}"
MASTER_PORT="${MASTER_PORT:-8118}"
NODE_RANK="${NODE_RANK:-0}"
# What each worker says; the console shows the first one of this machine.
LOG_DIR="${LOG_DIR:-outputs/msrun}"

# In a session of its own, so that Ctrl-C does not reach msrun.
setsid msrun --worker_num="$DEVICES" --local_worker_num="$LOCAL_DEVICES" --node_rank="$NODE_RANK" \
    --master_addr="$MASTER_ADDR" --master_port="$MASTER_PORT" --log_dir="$LOG_DIR" --join=True \
    --tail_worker_log="$((NODE_RANK * LOCAL_DEVICES))" python -m openlrm.launch "$@" &
msrun=$!

told=0
tell_workers() {
    told=$((told + 1))
    for pid in $(pgrep -P "$msrun"); do
        if [ "$(cat "/proc/$pid/comm")" != tail ] && grep -qzx MS_ROLE=MS_WORKER "/proc/$pid/environ"; then
            kill -TERM "$pid"
        fi
    done
}
trap tell_workers INT TERM

# A signal ends the waiting, not the job: wait once more for each.
for ((waited = 0; waited <= told; waited++)); do
    code=0
    wait "$msrun" || code=$?
done
if [ "$code" -ne 0 ]; then
    grep -hE "^(error: |.*go on with )" "$LOG_DIR"/worker_*.log | sort -u >&2 || true
    echo "a worker ended early (code $code): $LOG_DIR has what each said; a training goes on with --resume" >&2
fi
exit "$code"
