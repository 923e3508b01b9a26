import pytest

from bitdiff.runtime import launchers
from bitdiff.runtime.errors import UsageError

SLURM = {
    "SLURM_JOB_ID": "5000",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "node[003-004,9],gpu7",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
SKYPILOT = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NODE_IPS": "10.0.0.4\n10.0.0.5"}
JOBSET = {"JAX_COORDINATOR_ADDRESS": "job-0:8476", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (SLURM, ("node003:62344", 8, 5, 1, 4)),
        (
            SLURM | {"SLURM_STEP_NODELIST": "gpu7,gpu8", "SLURM_STEP_TASKS_PER_NODE": "1(x8)"},
            ("gpu7:62344", 8, 5, 1, 1),
        ),
        (SLURM | {"SLURM_STEP_NODELIST": "rack[0-1]n[00-15],x"}, ("rack0n00:62344", 8, 5, 1, 4)),
        (SLURM | {"SLURM_STEP_NODELIST": "n[1-2]-ib"}, ("n1-ib:62344", 8, 5, 1, 4)),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2,4(x3)", "SLURM_NODEID": "2"}, ("node003:62344", 8, 5, 1, 4)),
        (SLURM | {"SLURM_GPUS_PER_TASK": "2"}, ("node003:62344", 8, 5, 0, 1)),
        (OPEN_MPI, ("10.96.0.1:62624", 4, 3, 1, 2)),
        (OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;tcp6://[fe80::3000:2]:43370"}, ("[fe80::3000:2]:61440", 4, 3, 1, 2)),
        (SKYPILOT, ("10.0.0.4:8476", 2, 1, 0, 1)),
        (JOBSET, ("job-0:8476", 4, 2, 0, 1)),
        (JOBSET | {"JAX_PROCESS_ID": "3"} | SLURM, ("job-0:8476", 4, 3, 0, 1)),
        ({"TPU_WORKER_HOSTNAMES": "t0,t1"}, (None, None, None, 0, 1)),
    ],
)
def test_launchers_are_recognized_by_their_environment(env, expected):
    assert launchers.find(env)[:5] == expected


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # the shell of an allocation
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"},
        {"SKYPILOT_NUM_NODES": "1", "SKYPILOT_NODE_RANK": "0"},
        {"JAX_NUM_PROCESSES": "1"},
        {"TPU_WORKER_HOSTNAMES": "localhost"},
        {"JOB_COMPLETION_INDEX": "3"},  # a job of independent pods
    ],
)
def test_a_single_process_has_no_cluster(env):
    assert launchers.find(env) is None


def test_a_tpu_may_be_a_host_of_a_pod():
    assert launchers.find({}, tpu=True)[:3] == (None, None, None)
    assert launchers.find({}, tpu=True, count=1) is None
    assert launchers.find(SLURM, tpu=True).count == 8


def test_arguments_take_precedence_over_the_environment():
    assert launchers.find(SLURM, count=1) is None
    cluster = launchers.find(SLURM, coordinator="localhost:1", count=2, index=0)
    assert cluster[:3] == ("localhost:1", 2, 0)
    mpi5 = {name: value for name, value in OPEN_MPI.items() if name != "OMPI_MCA_orte_hnp_uri"}
    assert launchers.find(mpi5, coordinator="host:5")[:5] == ("host:5", 4, 3, 1, 2)
    assert launchers.find(mpi5 | {"JAX_COORDINATOR_ADDRESS": "host:6"}).coordinator == "host:6"


@pytest.mark.parametrize(
    ("env", "arguments", "message"),
    [
        ({}, {"count": 2}, r"the arguments: incomplete description of several processes.*--process_id are required"),
        (
            {},
            {"count": 2, "index": 2, "coordinator": "h:1"},
            "the process index is 2; .* it must be 0 to 1",
        ),
        ({}, {"count": 2, "index": 1, "coordinator": "h"}, "must be HOST:PORT"),
        ({"JAX_PROCESS_ID": "1"}, {}, "JAX_NUM_PROCESSES and JAX_PROCESS_ID are required"),
        (JOBSET | {"JAX_NUM_PROCESSES": "four"}, {}, "must be integers"),
        (SKYPILOT | {"SKYPILOT_NODE_IPS": ""}, {}, "SkyPilot: incomplete description of several processes"),
        (OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": ""}, {}, "all of --coordinator HOST:PORT"),
        ({"JAX_COORDINATOR_ADDRESS": "h:1"}, {}, "the number of processes is unknown"),
        ({"SLURM_JOB_NUM_NODES": "4"}, {}, "start it with srun"),
        (SLURM | {"SLURM_LOCALID": "x"}, {}, "SLURM_LOCALID is 'x'"),
    ],
)
def test_incomplete_clusters_are_refused(env, arguments, message):
    with pytest.raises(UsageError, match=message):
        launchers.find(env, **arguments)


def test_processes_share_a_machines_accelerators():
    cluster = launchers.Cluster("h:1", 8, 5, 1, 4, "")
    assert launchers.local_devices(cluster, 8) == [2, 3]
    assert launchers.local_devices(cluster, 4) == [1]
    assert launchers.local_devices(cluster, 1) is None  # each process was given its own
    assert launchers.local_devices(cluster._replace(local_count=1), 8) is None
    with pytest.raises(UsageError, match="4 processes on a machine cannot divide its 6 accelerators evenly"):
        launchers.local_devices(cluster, 6)
