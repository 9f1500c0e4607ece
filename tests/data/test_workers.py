import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longtake.data.workers import GivenUp, map_with_limit


def square(number):
    return number**2


def misbehave(number):
    """Every number but these three is squared."""
    if number == 3:
        time.sleep(600)
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 7:
        raise ZeroDivisionError("seven\nis too much")
    return number**2


@pytest.mark.parametrize("num_workers", [1, 3, 50])
def test_every_item_gets_its_result(num_workers):
    items = list(range(40))
    assert dict(map_with_limit(square, items, num_workers, 60)) == {number: number**2 for number in items}
    assert list(map_with_limit(square, [], num_workers, 60)) == []


@pytest.mark.parametrize("time_limit", [float("inf"), 1e12])
def test_there_may_be_no_limit(time_limit):
    assert dict(map_with_limit(square, range(3), 2, time_limit)) == {0: 0, 1: 1, 2: 4}


def nothing(number):
    return None


def test_none_is_a_result():
    assert dict(map_with_limit(nothing, range(3), 2, 60)) == dict.fromkeys(range(3))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_hangs_crashes_or_raises_costs_only_itself(num_workers):
    start = time.monotonic()
    results = dict(map_with_limit(misbehave, range(12), num_workers, 0.5))
    assert time.monotonic() - start < 20
    assert results[3] == GivenUp("the decoder is not done with it after 0.5 s")
    assert results[5] == GivenUp("the decoder crashes on it (exit status -9)")
    assert results[7] == GivenUp("ZeroDivisionError: seven is too much")
    assert all(results[number] == number**2 for number in range(12) if number not in (3, 5, 7))


def test_no_process_outlives_the_work():
    results = map_with_limit(misbehave, [1, 2, 3, 4], 2, 60)  # item 3 would sleep for ten minutes
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert multiprocessing.active_children() == []


def tell_and_hang(number):
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(600)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_one_that_started_them(sent):
    """Run this file as a script, whose processes say their numbers and then hang, and end it."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(3)]
        parent.send_signal(sent)
    deadline = time.monotonic() + 20
    while (alive := [worker for worker in workers if is_running(worker)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in alive:
        os.kill(worker, signal.SIGKILL)
    assert alive == []


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"  # ended, and nobody has asked how


if __name__ == "__main__":
    list(map_with_limit(tell_and_hang, range(4), 3, 600))
