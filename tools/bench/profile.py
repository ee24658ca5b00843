"""Where the time of a step goes: PyTorch's profile of both sides."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from bench.project import Task, search_for
from bench.reference import PlainNetwork, project_reference

ROWS = 25
"""Operators in a table, those with the most time of their own first."""


def profiles(task: Task, steps: int) -> str:
    """Tables of operators for ``steps`` steps of each side, the reference first, preparations included.

    This program's steps are the first of its schedule, which are the coarse ones unless they are all of it.
    """
    plain = PlainNetwork(task.network.state_dict(), task.network.conv_clamp)
    reference = _table(task, lambda: project_reference(plain, task.target[:1], task.features, steps, task.plan.seed))
    ours = _table(task, lambda: search_for(task, steps, lambda: None))
    return f"reference, {steps} steps\n{reference}\nours, {steps} of {task.plan.most} steps\n{ours}\n"


def _table(task: Task, work: Callable[[], object]) -> str:
    on_gpu = task.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as seen:
        work()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    return str(seen.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=48))
