#!/usr/bin/env bash
# A TPU VM pod slice on Google Cloud: create it and install bitdiff, train on all its hosts, delete it.
#   export PROJECT=p ZONE=us-central2-b
#   bash launch/tpu_vm.sh create bits v4-32
#   bash launch/tpu_vm.sh train bits --config configs/cifar10.py:uint_cond --workdir /mnt/shared/runs/cifar10
#   bash launch/tpu_vm.sh delete bits
# The workdir must be shared by all hosts, on a file system that supports appending to files, such as NFS (Filestore).
# DRY_RUN=1 prints the commands.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,8p' "$0" >&2
  exit 2
}

# tpu VERB ARGUMENTS...
tpu() {
  local line=(gcloud compute tpus tpu-vm "$@" --project="${PROJECT:?set PROJECT}" --zone="${ZONE:?set ZONE}")
  if [ "${DRY_RUN:-}" = 1 ]; then
    printf '%q ' "${line[@]}"
    echo
  else
    "${line[@]}"
  fi
}

[ $# -ge 2 ] || usage
action=$1 name=$2
shift 2
case "$action" in
  create)
    tpu create "$name" --accelerator-type="${1:?pass a type such as v4-32}" --version="${VERSION:-tpu-ubuntu2204-base}"
    archive="$(mktemp -d)/bitdiff.tar.gz"
    git archive --format=tar.gz --output="$archive" HEAD
    tpu scp "$archive" "$name": --worker=all
    tpu ssh "$name" --worker=all --command="sudo apt-get update -qq && sudo apt-get install -y -qq python3.11-venv &&
      mkdir -p bitdiff && tar -xzf bitdiff.tar.gz -C bitdiff && cd bitdiff &&
      PYTHON=python3.11 EXTRA=tpu source launch/environment.sh"
    ;;
  train)
    printf -v arguments '%q ' "$@"
    tpu ssh "$name" --worker=all --command="cd bitdiff && EXTRA=tpu source launch/environment.sh &&
      python -m bitdiff.train --platform tpu $arguments"
    ;;
  delete) tpu delete "$name" --quiet ;;
  *) usage ;;
esac
