#!/usr/bin/env bash
# Run a command of this folder in several processes: distributed.sh PROCESSES COMMAND.py [arguments]
# One machine: nothing else to say. Several: NNODES, NODE_RANK, MASTER_ADDR (and MASTER_PORT) in the environment.
set -euo pipefail
processes=$1
command=$2
shift 2

# On one machine the processes meet at a port that is free; several machines must agree on one.
if [ "${NNODES:-1}" = 1 ]; then
    meeting=(--standalone)
else
    meeting=(--nnodes="$NNODES" --node-rank="${NODE_RANK:-0}" --master-addr="${MASTER_ADDR:?set MASTER_ADDR}"
             --master-port="${MASTER_PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nproc-per-node="$processes" \
    "$(dirname "$0")/$command" "$@" --launcher pytorch
