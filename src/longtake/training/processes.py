"""Several processes that train as one: who they are, how they agree, how their gradients are averaged.

Gradients are averaged here rather than by DistributedDataParallel because players share networks and call their
submodules in any order, which its hooks do not allow.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist

# Imported before there is a process group: its default arguments would hold on to one that exists already, and the
# group's threads would then outlive `_leave_group`.
import torch.distributed.nn.functional
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from accelerate.utils import reduce as reduce_tensor
from einops import pack, unpack
from torch import Tensor, nn

from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.core.wording import are, counted

T = TypeVar("T")

# Elements per message: large enough to hide its latency, small enough not to double the memory of the gradients.
BUCKET_ELEMENTS = 2**25


def process_state() -> PartialState:
    """Return accelerate's view of this process and its device, with as many processes as the launcher started.

    Raises `UserError` if the launcher announces another number of processes than accelerate sees.
    """
    # Without this, accelerate silently runs each process of a launch on a machine without GPU on its own.
    is_launched = "LOCAL_RANK" in os.environ
    if _announced_world_size() > 1 and not is_launched:
        raise UserError(
            f"WORLD_SIZE is {_announced_world_size()} but this process has no LOCAL_RANK: "
            "start with `torchrun --nproc_per_node N`"
        )
    has_device = torch.cuda.is_available() or torch.xpu.is_available()
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes") or (
        is_launched and not has_device
    )
    state = PartialState(cpu=on_cpu)
    check_world_size(state)
    if state.backend == "gloo":
        # its threads otherwise crash the interpreter on exit (NCCL's do not, and leaving NCCL waits for the others)
        atexit.unregister(_leave_group)
        atexit.register(_leave_group)
    return state


def use_device(name: str) -> None:
    """Train on device `name` ("cpu", "cuda", "cuda:1"); to be called before anything else asks for the device.

    Raises `UserError` if there is no such device, or if the launcher has already given each process its own.
    """
    device = find_device(name)
    if device.type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "1"
    elif _announced_world_size() > 1:
        raise UserError(f"--device {name} with {_announced_world_size()} processes: the launcher chooses their devices")
    else:
        os.environ["ACCELERATE_TORCH_DEVICE"] = name


def check_world_size(state: PartialState) -> None:
    """Raise `UserError` if the launcher's WORLD_SIZE is not the number of processes that work together."""
    announced = _announced_world_size()
    if announced != state.num_processes:
        raise UserError(
            f"the launcher announces {counted(announced, 'process')} (WORLD_SIZE), but there "
            f"{are(state.num_processes)} {state.num_processes}: start them with `torchrun --nproc_per_node N`"
        )


def run_on_main(function: Callable[[], T]) -> T:
    """Run `function` on rank 0 only; every process gets its (picklable) result, or its `UserError`."""
    state = PartialState()
    outcome: list[T | UserError | None] = [None]
    if state.is_main_process:
        try:
            outcome[0] = function()
        except UserError as error:
            outcome[0] = error
    if state.num_processes > 1:
        broadcast_object_list(outcome)
    result = outcome[0]
    if isinstance(result, UserError):
        raise result
    return result  # type: ignore[return-value]


def any_process(flag: bool) -> bool:
    """Return whether `flag` is true in any process."""
    state = PartialState()
    if state.num_processes == 1:
        return flag
    return bool(reduce_tensor(torch.tensor(float(flag), device=state.device), "sum").item())


def average_over_processes(values: Tensor) -> Tensor:
    """Return the mean of `values` over the processes."""
    return values if PartialState().num_processes == 1 else reduce_tensor(values, "mean")


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes; where only some have one, it counts as 0 in the others."""
    state = PartialState()
    if state.num_processes == 1:
        return
    parameters = list(parameters)
    has_gradient = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
    has_gradient = has_gradient.to(state.device)
    dist.all_reduce(has_gradient, dist.ReduceOp.MAX)
    used = [parameter for parameter, flag in zip(parameters, has_gradient.tolist(), strict=True) if flag]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for gradients in _buckets([parameter.grad for parameter in used if parameter.grad is not None]):
        flat, shapes = pack(gradients, "*")
        dist.all_reduce(flat)
        flat /= state.num_processes
        for gradient, mean in zip(gradients, unpack(flat, shapes, "*"), strict=True):
            gradient.copy_(mean)


@torch.no_grad()
def broadcast_modules(modules: Iterable[nn.Module]) -> None:
    """Give every process rank 0's parameters and buffers."""
    if PartialState().num_processes == 1:
        return
    for module in modules:
        for value in [*module.parameters(), *module.buffers()]:
            # not every backend sends booleans
            sent = value.data.to(torch.uint8) if value.dtype == torch.bool else value.data.contiguous()
            dist.broadcast(sent, src=0)
            value.data.copy_(sent)


def _announced_world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _leave_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors in order, of one dtype each and of at most `BUCKET_ELEMENTS` (or a single tensor)."""
    bucket: list[Tensor] = []
    num_elements = 0
    for tensor in tensors:
        if bucket and (num_elements + tensor.numel() > BUCKET_ELEMENTS or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, num_elements = [], 0
        bucket.append(tensor)
        num_elements += tensor.numel()
    if bucket:
        yield bucket
