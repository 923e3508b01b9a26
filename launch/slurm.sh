#!/usr/bin/env bash
# Slurm: one task per node, which uses all GPUs of its node.
#   sbatch --nodes=4 launch/slurm.sh --config configs/imagenet64.py:uint_cond --workdir /shared/runs/imagenet64
# The checkout and the workdir must be on a file system that all nodes can access. Ten minutes before the time limit,
# Slurm sends SIGTERM: the run saves a checkpoint, and the job is requeued and resumes from there.
#SBATCH --job-name=bitdiff
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this script with sbatch from the checkout}"
EXTRA=cuda
source launch/environment.sh
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"; fi # which srun does not inherit

code=0
srun --kill-on-bad-exit=1 --wait=120 python -m bitdiff.train --platform gpu "$@" || code=$?
if [ "$code" = 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
