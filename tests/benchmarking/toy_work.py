"""Work for another process, which imports this module."""

from __future__ import annotations

import os

from longtake.benchmarking.cost import peak_resident_bytes
from longtake.core.errors import UserError


def square(tell, number):
    tell("begun")
    tell({"at": number})
    return number**2, os.getpid()


def make_a_mistake(tell):
    raise UserError("no such thing")


def die(tell):
    tell("still here")
    os.kill(os.getpid(), 9)


def own_peak(tell):
    return peak_resident_bytes()
