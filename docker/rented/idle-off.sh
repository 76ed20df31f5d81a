#!/bin/sh
# On a rented machine: runs a command once its worker has had nothing to do for a while.
#   IDLE_SECONDS=900 idle-off.sh sudo poweroff
# It reads the worker's own metrics (PIXELMILL_METRICS_PORT). A worker that does not answer counts as idle: it is dead,
# or never started, and costs as much. IDLE_SECONDS therefore has to be longer than its start.
set -eu
: "${1:?the command that switches the machine off}"
url=http://127.0.0.1:${PIXELMILL_METRICS_PORT:-9109}/metrics
idle_since=$(date +%s)
while :; do
    # No running shard, and none waiting in the pool for this worker or another.
    if curl --silent --fail --max-time 5 "$url" |
        awk '/^pixelmill_(shard_running|pool_waiting_runs)[ {]/ && $NF > 0 {busy = 1} END {exit !busy}'; then
        idle_since=$(date +%s)
    elif [ $(($(date +%s) - idle_since)) -ge "${IDLE_SECONDS:-900}" ]; then
        echo "$(date -u +%FT%TZ) nothing to do for ${IDLE_SECONDS:-900} s: $*" >&2
        exec "$@"
    fi
    sleep "${LOOK_SECONDS:-20}"
done
