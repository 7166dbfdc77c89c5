#!/usr/bin/env bash
# One machine, all its GPUs: examples/launch/node.sh 10b --out runs/10b [more words for `m6 pretrain`]
#
# GPUS=4       so many processes; by default one for each GPU, or one where there is none
# RESTARTS=3   how often all start again from the last checkpoint after one was lost
set -euo pipefail

GPUS=${GPUS:-$(python -c 'import torch; print(torch.cuda.device_count() or 1)')}
exec torchrun --standalone --nproc-per-node "$GPUS" --max-restarts "${RESTARTS:-3}" -m m6.cli pretrain "$@"
