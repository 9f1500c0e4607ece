"""Work elsewhere: its results, words, mistakes and death arrive here, and its memory is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy_work

from longtake.benchmarking.cost import peak_resident_bytes
from longtake.benchmarking.own_process import in_own_process
from longtake.core.errors import UserError


def test_result_and_words_arrive_from_another_process():
    heard = []
    result, process = in_own_process(toy_work.square, 7, hear=heard.append)
    assert result == 49
    assert heard == ["begun", {"at": 7}]
    assert process != os.getpid()


def test_mistake_arrives_with_its_place():
    with pytest.raises(UserError) as caught:
        in_own_process(toy_work.make_a_mistake, hear=print)
    assert str(caught.value) == "no such thing"
    assert "make_a_mistake" in caught.value.__notes__[0]


def test_death_is_an_error_of_the_machine():
    heard = []
    with pytest.raises(OSError, match="was killed, perhaps for want of memory"):
        in_own_process(toy_work.die, hear=heard.append)
    assert heard == ["still here"]


SCRIPT = """
import signal, toy_work
from longtake.benchmarking.own_process import in_own_process
signal.signal(signal.SIGINT, lambda *_: None)
print("begun", flush=True)
print(in_own_process(toy_work.square, 7, hear=lambda _: None)[0])
"""


def test_ctrl_c_is_for_the_first_process_alone_also_while_the_second_imports():
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)  # importing torch takes longer
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=60) == ("49\n", "")


def test_peak_memory_is_the_childs_own():
    """ru_maxrss of a child begins at what its parent held: it would say 600 MB here."""
    ballast = np.ones(600_000_000, np.uint8)
    assert peak_resident_bytes() > ballast.nbytes
    assert in_own_process(toy_work.own_peak, hear=print) < peak_resident_bytes() - ballast.nbytes / 2
