"""The launch scripts in examples/launch do what they say, with two processes on one machine in the place of many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m6.run import read_done, read_metrics
from tests.distributed.launch import free_port
from tests.distributed.test_command import prepared, words  # noqa: F401, a fixture

SCRIPTS = Path(__file__).parents[2] / "examples" / "launch"
SRUN = """#!/bin/sh
for task in $(seq "$SLURM_JOB_NUM_NODES"); do "$@" & started="$started $!"; done
for process in $started; do wait "$process" || exit 1; done
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then echo 127.0.0.1; echo 127.0.0.2; else echo "$@" >> "$(dirname "$0")/requeued"; fi
"""


def start(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS.parents[1]), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    path = os.pathsep.join([environment.pop("FIRST", ""), str(Path(sys.executable).parent), os.environ["PATH"]])
    everything = {**os.environ, **own, **environment, "PATH": path.lstrip(os.pathsep)}
    return subprocess.run(command, env=everything, capture_output=True, text=True, timeout=180)


def assert_trained(out: Path) -> None:
    assert read_done(out, "pretrain") is not None
    assert [row["step"] for row in read_metrics(out / "pretrain" / "metrics.jsonl")] == [2, 4, 6]


def test_one_machine(prepared: Path, tmp_path: Path) -> None:  # noqa: F811
    given = words(prepared, tmp_path / "run")[1:]
    done = start([str(SCRIPTS / "node.sh"), *given], GPUS="2", RESTARTS="0")
    assert done.returncode == 0, done.stderr
    assert_trained(tmp_path / "run")


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """A folder with commands of Slurm's names that start everything on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def test_several_machines_under_slurm(prepared: Path, tmp_path: Path, slurm: Path) -> None:  # noqa: F811
    given = words(prepared, tmp_path / "run")[1:]
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "a[1-2]", "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1"}
    done = start([str(SCRIPTS / "slurm.sh"), *given], FIRST=str(slurm), PORT=str(free_port()), RESTARTS="0", **job)
    assert done.returncode == 0, done.stderr
    assert_trained(tmp_path / "run")
    assert not (slurm / "requeued").exists()


def test_a_job_that_slurm_stops_is_queued_again(prepared: Path, tmp_path: Path, slurm: Path) -> None:  # noqa: F811
    given = words(prepared, tmp_path / "run")[1:]
    (slurm / "srun").write_text("#!/bin/sh\nexit 0\n")  # what a training does that has saved and stopped
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "a[1-2]", "SLURM_JOB_ID": "7"}
    done = start([str(SCRIPTS / "slurm.sh"), *given], FIRST=str(slurm), **job)
    assert done.returncode == 0, done.stderr
    assert (slurm / "requeued").read_text() == "requeue 7\n"


def test_several_machines_under_ray(prepared: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("ray")
    given = words(prepared, tmp_path / "run")[1:]
    script = str(SCRIPTS / "ray_cluster.py")
    done = start([sys.executable, script, "--ranks", "2", "--cpu", "--restarts", "0", *given])
    assert done.returncode == 0, done.stdout + done.stderr
    assert_trained(tmp_path / "run")
