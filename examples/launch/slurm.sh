#!/usr/bin/env bash
# Several machines under Slurm: sbatch --nodes 16 examples/launch/slurm.sh 100b --out /shared/runs/100b
#
# The folder has to be on a disk that all machines share. When time runs out or the job is pushed aside, Slurm sends
# SIGTERM five minutes before: the training saves and ends in order, and the job is queued again, until the stage is
# done. Started from the folder of the project, or with M6 set to it.
#
#SBATCH --job-name=m6
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
out=$(python -c 'import sys; from m6.flags import split; (recipe,), flags = split(sys.argv[1:])
print(flags.get("out") or "runs/" + recipe.split("/")[-1].removesuffix(".py"))' "$@")
export GPUS="${SLURM_GPUS_ON_NODE:-1}" RESTARTS="${RESTARTS:-3}"
export RENDEZVOUS="--nnodes $SLURM_JOB_NUM_NODES --rdzv-backend c10d --rdzv-id $SLURM_JOB_ID --rdzv-endpoint $first:${PORT:-29500}"
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # which srun does not take over from sbatch
srun "${M6:-.}/examples/launch/node.sh" "$@"
[ -e "$out/pretrain/done.json" ] || scontrol requeue "$SLURM_JOB_ID"
