#!/usr/bin/env bash
# One machine, all its GPUs: examples/launch/node.sh 10b --out runs/10b [more words for `m6 pretrain`]
#
# GPUS=4                so many processes; by default one for each GPU, or one where there is none
# RESTARTS=3            how often all start again from the last checkpoint after one was lost
# RENDEZVOUS="--nnodes 16 --rdzv-backend c10d --rdzv-id 7 --rdzv-endpoint node1:29500"
#                       one of several machines, on each of which this is started (see slurm.sh)
#
# SIGTERM to this script makes the training save and end with exit code 0. It goes to the training alone: torchrun, if it
# gets the signal itself, ends with 1 even though all was saved.
set -euo pipefail

GPUS=${GPUS:-$(python -c 'import torch; print(torch.cuda.device_count() or 1)')}
# shellcheck disable=SC2086 # several words
torchrun ${RENDEZVOUS:---standalone} --nproc-per-node "$GPUS" --max-restarts "${RESTARTS:-3}" \
  -m m6.cli pretrain "$@" &
started=$!
trap 'pkill -TERM -P "$started" || true' TERM INT
until wait "$started"; do
  code=$?
  kill -0 "$started" 2>/dev/null || exit "$code" # else the wait alone was broken off, by a signal
done
