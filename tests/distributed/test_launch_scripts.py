"""The launch scripts in examples/launch do what they say, with two processes on one machine in the place of many."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m6.recipes.recipe import Recipe
from m6.run import read_done, read_metrics
from tests.distributed.launch import free_port
from tests.distributed.test_command import RECIPE, VALUES, prepared, words  # noqa: F401, a fixture

SCRIPTS = Path(__file__).parents[2] / "examples" / "launch"
SRUN = """#!/bin/sh
for task in $(seq "$SLURM_JOB_NUM_NODES"); do "$@" & started="$started $!"; done
for process in $started; do wait "$process" || exit 1; done
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then echo 127.0.0.1; echo 127.0.0.2; else echo "$@" >> "$(dirname "$0")/requeued"; fi
"""


def surroundings(**environment: str) -> dict[str, str]:
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS.parents[1]), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    path = os.pathsep.join([environment.pop("FIRST", ""), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **own, **environment, "PATH": path.lstrip(os.pathsep)}


def start(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=surroundings(**environment), capture_output=True, text=True, timeout=180)


def assert_trained(out: Path) -> None:
    assert read_done(out, "pretrain") is not None
    assert [row["step"] for row in read_metrics(out / "pretrain" / "metrics.jsonl")] == [2, 4, 6]


def test_one_machine(prepared: Path, tmp_path: Path) -> None:  # noqa: F811
    given = words(prepared, tmp_path / "run")[1:]
    done = start([str(SCRIPTS / "node.sh"), *given], GPUS="2", RESTARTS="0")
    assert done.returncode == 0, done.stderr
    assert_trained(tmp_path / "run")


def test_a_signal_to_the_script_saves_and_ends_in_order(prepared: Path, tmp_path: Path) -> None:  # noqa: F811
    values = VALUES["pretrain.loop"] | {"num_steps": 5000, "log_every": 5, "checkpoint_every": 5000, "heldout_every": 0}
    (prepared / "endless.py").write_text(RECIPE.format(values=VALUES | {"pretrain.loop": values}), encoding="utf-8")
    out = tmp_path / "run"
    given = words(prepared, out)[1:]
    given[0] = str(prepared / "endless.py")
    changed = {f"pretrain.loop.{name}": value for name, value in values.items()}
    Recipe.read(out / "config.json").override(changed).write(out / "config.json")
    command = [str(SCRIPTS / "node.sh"), *given]
    with subprocess.Popen(command, env=surroundings(GPUS="2"), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not read_metrics(out / "pretrain" / "metrics.jsonl") and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=120)[1]
    assert process.returncode == 0, told
    assert re.search(r"pretrain: stopped at step \d+, saved", told)
    assert len(list((out / "pretrain").glob("step-*"))) == 1


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
    done = start(
        [str(SCRIPTS / "slurm.sh"), *given],
        FIRST=str(slurm),
        M6=str(SCRIPTS.parents[1]),
        PORT=str(free_port()),
        RESTARTS="0",
        **job,
    )
    assert done.returncode == 0, done.stderr
    assert_trained(tmp_path / "run")
    assert not (slurm / "requeued").exists()


def test_a_job_that_slurm_stops_is_queued_again(prepared: Path, tmp_path: Path, slurm: Path) -> None:  # noqa: F811
    given = words(prepared, tmp_path / "run")[1:]
    (slurm / "srun").write_text("#!/bin/sh\nexit 0\n")  # what a training does that has saved and stopped
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "a[1-2]", "SLURM_JOB_ID": "7"}
    done = start([str(SCRIPTS / "slurm.sh"), *given], FIRST=str(slurm), M6=str(SCRIPTS.parents[1]), **job)
    assert done.returncode == 0, done.stderr
    assert (slurm / "requeued").read_text() == "requeue 7\n"


def test_several_machines_under_ray(prepared: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("ray")
    given = words(prepared, tmp_path / "run")[1:]
    script = str(SCRIPTS / "ray_cluster.py")
    done = start([sys.executable, script, "--ranks", "2", "--cpu", "--restarts", "0", *given])
    assert done.returncode == 0, done.stdout + done.stderr
    assert_trained(tmp_path / "run")
