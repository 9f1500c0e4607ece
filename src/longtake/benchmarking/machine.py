"""Where something was measured: processor or GPU, threads, versions."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from longtake.core.processors import num_processors
from longtake.core.wording import counted

CPU_FACTS = Path("/proc/cpuinfo")


def machine_facts(device: torch.device, num_processes: int = 1) -> dict[str, Any]:
    """Return what seconds and bytes on this machine depend on besides the model.

    `num_processes` is how many sample at the same time.
    """
    facts: dict[str, Any] = {
        "device": str(device),
        "processor": processor_name(),
        "processors": num_processors(),
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def describe_machine(facts: dict[str, Any]) -> str:
    """Return the facts as a line."""
    where = (
        facts.get("gpu") or f"{facts['processor']}, {facts['threads']} of {counted(facts['processors'], 'processor')}"
    )
    beside = f", {facts['processes']} processes at the same time" if facts["processes"] > 1 else ""
    return f"{facts['device']} ({where}{beside})"


def what_is_measured(facts: dict[str, Any]) -> str:
    """Return what a reader of times and memory has to know."""
    memory = "the whole process, Python and libraries included" if "gpu" not in facts else "torch's tensors on the GPU"
    return (
        "times are of sampling alone, without loading the model and writing files; peak memory is that of "
        f"{memory}, in a process of its own"
    )


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
