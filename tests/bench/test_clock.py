"""The clock counts the work and not the watching; arithmetic is counted as worked out by hand."""

import mmap

import pytest
import torch
from torch.nn import functional

from bench import arithmetic
from bench.arithmetic import Counted, convolution_rate
from bench.clock import Clock, PeakMemory

CPU = torch.device("cpu")


class Time:
    """Stands still but for what is added."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_clock_stands_still_while_paused() -> None:
    time = Time()
    clock = Clock(CPU, time)
    assert clock.seconds == 0
    clock.start()
    time.now += 2
    with clock.paused():
        time.now += 50
        assert clock.seconds == 2
    time.now += 3
    assert clock.seconds == 5
    assert clock.stop() == 5
    time.now += 7
    assert clock.seconds == 5


def test_laps_leave_out_pauses() -> None:
    time = Time()
    clock = Clock(CPU, time)
    clock.start()
    time.now += 1
    clock.mark()
    for seconds in (2, 3):
        time.now += seconds
        clock.lap()
        with clock.paused():
            time.now += 10
    assert clock.laps == [2, 3]
    assert clock.stop() == 6


def test_clock_goes_on_after_an_error_in_a_pause() -> None:
    time = Time()
    clock = Clock(CPU, time)
    clock.start()
    with pytest.raises(KeyError), clock.paused():
        raise KeyError
    time.now += 4
    assert clock.stop() == 4


def test_clock_refuses_to_be_started_or_stopped_twice() -> None:
    clock = Clock(CPU, Time())
    with pytest.raises(ValueError, match="expected a clock that runs, got one that stands still"):
        clock.stop()
    clock.start()
    with pytest.raises(ValueError, match="expected a clock that stands still, got one that runs"):
        clock.start()


def test_peak_memory_sees_what_has_been_freed_again() -> None:
    memory = PeakMemory(CPU)
    before = memory.mb()
    if before is None:
        pytest.skip("this system does not tell the peak")
    with mmap.mmap(-1, 64 * 2**20) as held:  # pages of its own: a tensor may lie in what was freed earlier
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
    after = memory.mb()
    assert after is not None
    assert 60 < after - before < 80
    again = PeakMemory(CPU).mb()
    assert again is not None
    assert again < after - 40


def test_arithmetic_by_hand() -> None:
    x = torch.randn(2, 8, 16, 16, requires_grad=True)
    with Counted() as counted:
        y = functional.conv2d(x, torch.randn(4, 8, 3, 3), padding=1)
        forward = counted.gflop
        y.sum().backward()
        both = counted.gflop
        functional.conv_transpose2d(x.detach(), torch.randn(8, 4, 3, 3), stride=2)
        transposed = counted.gflop - both
        head = torch.nn.Sequential(torch.nn.Linear(16, 3)).requires_grad_(False)
        with torch.no_grad():
            before = counted.gflop
            head(x)  # it has a gradient, and the call has none
        product = counted.gflop - before
    assert product * 1e9 == pytest.approx(2 * 2 * 8 * 16 * 16 * 3)
    assert forward * 1e9 == pytest.approx(2 * 2 * 4 * 8 * 9 * 256)
    assert both == pytest.approx(2 * forward), "no gradient for the weights"
    assert transposed == pytest.approx(forward), "counted at its input"


def test_rate_of_a_convolution_is_a_number_of_gflop_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "CHANNELS", 64)
    assert 0.1 < convolution_rate(CPU, seconds=0.0) < 1e6
