#!/usr/bin/env bash
# Trains on a TPU slice of Google Kubernetes Engine with XPK (pip install xpk) and the image of launch/Containerfile.
#   CLUSTER=c IMAGE=registry/bitdiff bash launch/gke.sh bits v5litepod-16 --config configs/cifar10.py --workdir /data/runs/c
# The workdir must be on storage that XPK attaches to the cluster. For GPUs, or without XPK, see launch/jobset.yaml.
# The workload restarts after a preemption, a lost host (exit code 3), or a file that could not be read or written (4).
# DRY_RUN=1 prints the command.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,6p' "$0" >&2
  exit 2
fi
name=$1 type=$2
shift 2
printf -v arguments '%q ' "$@"
line=(xpk workload create --cluster="${CLUSTER:?set CLUSTER}" --docker-image="${IMAGE:?set IMAGE}"
  --workload="$name" --tpu-type="$type" --max-restarts=10 --restart-on-exit-codes="3,4"
  --command="python -m bitdiff.train --platform tpu $arguments")
if [ "${DRY_RUN:-}" = 1 ]; then
  printf '%q ' "${line[@]}"
  echo
else
  "${line[@]}"
fi
