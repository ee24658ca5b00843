"""Damaged files for every reader of somebody else's: each must end with what it holds or with a sentence.

    python -m tests.fuzz.fuzz [--minutes 5] [--keep FOLDER] [TARGET ...]

One target after the other gets mutations of small files that are made here, in a process of its own that may take 4 GB;
what ends that process, computes for ten seconds, waits for two minutes or raises anything but an OstecError is a
finding, whose file is kept.
"""

import argparse
import contextlib
import faulthandler
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ostec.core.errors import OstecError
from tests.fuzz.targets import TARGETS, Target

_ODD = (b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xff" * 4, b"\xff\xff\xff\x7f", b"1e999", b"-1", b"[")
_SECONDS = 10
_MEMORY_BYTES = 4 << 30
_BATCH = 200


def mutated(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """The same with one to eight places changed, cut out, repeated, or taken from another file."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        at, length = draw.randrange(len(found) + 1), draw.choice((1, 1, 2, 4, 16, 200))
        match draw.randrange(7):
            case 0 | 1 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 2:
                odd = draw.choice(_ODD)
                found[at : at + len(odd)] = odd
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length] * draw.choice((1, 2, 50))
            case 5:
                other = draw.choice(others)
                start = draw.randrange(len(other) + 1)
                found[at : at + length] = other[start : start + length]
            case _ if at < len(found):
                found[at] = draw.randrange(256)
    return bytes(found)


def tried(target: Target, path: Path, data: bytes) -> str:
    """What a reader did wrong with a file; empty if nothing."""
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)  # of work
    signal.alarm(12 * _SECONDS)  # of waiting, on a busy machine
    try:
        target.read(path)
    except OstecError as error:
        return "" if str(error).strip() else "an error without a sentence"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return ""


def _in_process(work: Callable[[int], None]) -> tuple[list[str], int]:
    """The lines that a forked process writes before it ends, and the signal that ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES + _size(), resource.RLIM_INFINITY))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work(writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        lines = stream.read().decode(errors="replace").splitlines()
    status = os.waitpid(pid, 0)[1]
    return lines, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _size() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz(name: str, seconds: float, keep: Path, seed: int = 0) -> tuple[int, dict[str, bytes]]:
    """Mutate for some seconds; returns the number of executions and a file for each kind of finding."""
    target, draw, findings, count = TARGETS[name], random.Random(f"{name} {seed}"), dict[str, bytes](), 0
    with tempfile.TemporaryDirectory() as folder:
        seeds = target.seeds(Path(folder))
        path = Path(folder) / "in/in" / target.file  # a list may name the folders above
        path.parent.mkdir(parents=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            batch = [mutated(draw.choice(seeds), seeds, draw) for _ in range(_BATCH)]

            def work(out: int, batch: list[bytes] = batch) -> None:
                for number, data in enumerate(batch):
                    os.write(out, f"{number}\t".encode())
                    wrong = " ".join(tried(target, path, data).split())
                    os.write(out, f"{wrong}\n".encode())
                    if time.monotonic() > end:
                        return

            lines, ended = _in_process(work)
            count += len(lines)
            for line in lines:
                number, _, wrong = line.partition("\t")
                if ended and line is lines[-1]:
                    wrong = f"signal {ended}"
                if wrong and wrong.split(":")[0] not in findings:
                    findings[wrong.split(":")[0]] = batch[int(number)]
                    sys.stdout.write(f"  {name}: {wrong}\n")
    for wrong, data in findings.items():
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{name}-{wrong.replace(' ', '-')}-{target.file}").write_bytes(data)
    return count, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []])
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--keep", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names, wrong = given.targets or list(TARGETS), 0
    for name in names:
        count, findings = fuzz(name, given.minutes * 60 / len(names), given.keep, given.seed)
        sys.stdout.write(f"{name}: {count} executions, {len(findings)} kinds of findings\n")
        sys.stdout.flush()
        wrong += len(findings)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
