"""The processes of a run, as command-line arguments or a launcher's environment variables describe them."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from bitdiff.runtime.errors import UsageError

_PORT = 8476  # the coordinator's port if the launcher does not name one


class Cluster(NamedTuple):
    """The processes of a run, and which of them this is.

    coordinator: 'host:port' of process 0; None if jax queries the cloud's metadata for it.
    count: number of processes; None if jax queries it.
    index: index of this process; None if jax queries it.
    local_index, local_count: index of this process among those on this machine, and their number.
    launcher: the source of this information, for messages.
    """

    coordinator: str | None
    count: int | None
    index: int | None
    local_index: int
    local_count: int
    launcher: str


def find(
    env: Mapping[str, str],
    *,
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    tpu: bool = False,
) -> Cluster | None:
    """The cluster described by the arguments or the environment; None for a single process.

    Sources, in order of precedence: arguments; JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (or
    Kubernetes' JOB_COMPLETION_INDEX); SkyPilot; a Slurm step; Open MPI; a TPU pod, whose metadata jax queries.

    Args:
      env: environment variables.
      coordinator: 'host:port' of process 0; given alone, it replaces the launcher's.
      count: number of processes; 1 forces a single process, whatever the environment.
      index: index of this process.
      tpu: whether this machine has a TPU; it may be a host of a pod, which jax learns from the cloud's metadata.

    Raises:
      UsageError: the description is incomplete or inconsistent; a host never silently runs on its own instead.
    """
    if count == 1:
        return None
    if (count, index) != (None, None):
        return _complete(coordinator, count, index, "the arguments", "--coordinator, --num_processes and --process_id")
    coordinator = coordinator or env.get("JAX_COORDINATOR_ADDRESS")
    given = [env.get(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")]
    if given[0] is not None and given[1] is None:
        given[1] = env.get("JOB_COMPLETION_INDEX")
    if given[0] == "1":
        return None
    if given != [None, None]:
        names = "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        return _complete(coordinator, given[0], given[1], "JAX_* variables", names)
    if _number(env, "SKYPILOT_NUM_NODES") > 1:
        hosts = env.get("SKYPILOT_NODE_IPS", "").split()
        return _complete(
            coordinator or (f"{hosts[0]}:{_PORT}" if hosts else None),
            env["SKYPILOT_NUM_NODES"],
            env.get("SKYPILOT_NODE_RANK"),
            "SkyPilot",
            "SKYPILOT_NODE_IPS, SKYPILOT_NUM_NODES and SKYPILOT_NODE_RANK",
        )
    if _number(env, "SLURM_STEP_NUM_TASKS") > 1:
        return _slurm(env, coordinator)
    if _number(env, "OMPI_COMM_WORLD_SIZE") > 1:
        return _open_mpi(env, coordinator)
    if tpu or "," in env.get("TPU_WORKER_HOSTNAMES", "") or _number(env, "MEGASCALE_NUM_SLICES") > 1:
        return Cluster(None, None, None, 0, 1, "the TPU's metadata")
    if coordinator:
        raise UsageError(
            f"the coordinator is {coordinator}, but the number of processes is unknown: pass --num_processes"
        )
    if _number(env, "SLURM_JOB_NUM_NODES") > 1 and "SLURM_STEP_NUM_TASKS" not in env:
        raise UsageError(
            f"this is a Slurm job of {env['SLURM_JOB_NUM_NODES']} nodes, but not one of its tasks: start it with srun, "
            "or pass --num_processes 1 to use this node alone"
        )
    return None


def _complete(coordinator, count, index, launcher: str, names: str) -> Cluster:
    if None in (coordinator, count, index):
        raise UsageError(
            f"{launcher}: incomplete description of several processes: coordinator {coordinator}, {count} processes, "
            f"process index {index}; all of {names} are required"
        )
    try:
        count, index = int(count), int(index)
    except ValueError as error:
        raise UsageError(f"{names}: {count!r} and {index!r} must be integers") from error
    if not 0 <= index < count:
        raise UsageError(f"{names}: the process index is {index}; with {count} processes it must be 0 to {count - 1}")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UsageError(f"the coordinator is {coordinator!r}; it must be HOST:PORT of process 0")
    return Cluster(coordinator, count, index, 0, 1, launcher)


def _slurm(env: Mapping[str, str], coordinator: str | None) -> Cluster:
    # The first host of 'node[001-004,7]-ib,other': everything up to a comma outside brackets, with each bracket
    # replaced by its first entry.
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", env.get("SLURM_STEP_NODELIST", ""))
    host = re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first.group()) if first else None
    port = 61_440 + _number(env, "SLURM_JOB_ID") % 4_096  # so that jobs on the same node do not collide
    cluster = _complete(
        coordinator or (f"{host}:{port}" if host else None),
        env["SLURM_STEP_NUM_TASKS"],
        env.get("SLURM_PROCID"),
        "Slurm",
        "SLURM_STEP_NODELIST, SLURM_STEP_NUM_TASKS and SLURM_PROCID",
    )
    if any(name in env for name in ("SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_NTASKS_PER_GPU")):
        return cluster  # each task sees only its own GPUs
    # '4(x2),3': two nodes with 4 tasks each, then one with 3.
    tasks = [
        int(count)
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", env.get("SLURM_STEP_TASKS_PER_NODE", "1"))
        for _ in range(int(times or 1))
    ]
    node = _number(env, "SLURM_NODEID")
    return cluster._replace(
        local_index=_number(env, "SLURM_LOCALID"), local_count=tasks[node] if node < len(tasks) else tasks[-1]
    )


def _open_mpi(env: Mapping[str, str], coordinator: str | None) -> Cluster:
    # '1531576320.0;tcp://10.96.0.1,10.148.0.1:34911': the job id and the addresses of mpirun's host.
    uri = re.match(r"(\d+)\..*?(?:tcp://([^,:]+)|tcp6://\[([^,\]]+))", env.get("OMPI_MCA_orte_hnp_uri", ""))
    host = uri and (uri.group(2) or f"[{uri.group(3)}]")
    cluster = _complete(
        coordinator or (f"{host}:{61_440 + int(uri.group(1)) // 4_096 % 4_096}" if uri else None),
        env["OMPI_COMM_WORLD_SIZE"],
        env.get("OMPI_COMM_WORLD_RANK"),
        "Open MPI",
        "--coordinator HOST:PORT (Open MPI 4 provides it, 5 does not), OMPI_COMM_WORLD_SIZE and OMPI_COMM_WORLD_RANK",
    )
    return cluster._replace(
        local_index=_number(env, "OMPI_COMM_WORLD_LOCAL_RANK"),
        local_count=max(_number(env, "OMPI_COMM_WORLD_LOCAL_SIZE"), 1),
    )


def _number(env: Mapping[str, str], name: str) -> int:
    """The integer value of a variable; 0 if it is not set."""
    value = env.get(name, "0")
    if not value.isdigit():
        raise UsageError(f"{name} is {value!r}; it must be an integer")
    return int(value)


def local_devices(cluster: Cluster, visible: int) -> list[int] | None:
    """The indices of this process's accelerators among the `visible` ones of this machine; None for all of them.

    Several processes on a machine get equal blocks of its accelerators. If the launcher already assigned each process
    its own (fewer are visible than there are processes), the process uses all it sees.

    Raises:
      UsageError: the accelerators cannot be divided evenly.
    """
    if cluster.local_count == 1 or visible < cluster.local_count:
        return None
    if visible % cluster.local_count:
        raise UsageError(
            f"{cluster.local_count} processes on a machine cannot divide its {visible} accelerators evenly; start one "
            "process per machine or one per accelerator"
        )
    block = visible // cluster.local_count
    return list(range(cluster.local_index * block, (cluster.local_index + 1) * block))
