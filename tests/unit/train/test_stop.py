"""SIGTERM: the first is a wish, a later one ends the process wherever it is."""

import os
import signal
import subprocess
import sys
import time

from m6.train.stop import StopWish


def test_a_signal_is_noted_and_what_was_there_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopWish() as wish:
        assert not wish.asked
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # at once: torchrun passes on what Slurm has sent already
        end = time.monotonic() + 10
        while not wish.asked and time.monotonic() < end:
            pass
        assert wish.asked
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


WAITS = """
import ctypes, m6.train.stop as stop
stop.SAME_SECONDS = 0.2
with stop.StopWish() as wish:
    print("ready", flush=True)
    while True:
        ctypes.CDLL(None).pause()
"""


def test_a_second_signal_ends_a_process_that_waits_outside_of_python() -> None:
    """In a call of C's that is begun again and again and never lets Python's own handlers end it."""
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
