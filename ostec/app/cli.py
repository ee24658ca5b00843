"""The command line: finds the command, parses its options with tyro, turns errors into sentences and exit codes.

A command is a frozen dataclass in a module of its own in ``ostec.app``: its fields are the options, the strings below
them the help, other dataclasses among them groups of options, and ``run() -> int`` carries it out and returns the exit
code. Short names, placeholders and positions are annotations of the fields, as tyro reads them. To add a command, write
the module and give it a line in :data:`COMMANDS`. The module is imported only when its command is called and before
anything is parsed, so it imports what is heavy in ``run``.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ostec import __version__
from ostec.app.parse import after_help, parse, wrapped
from ostec.core.errors import OstecError
from ostec.core.text import shown

DESCRIPTION = "From one photo of a face to a complete UV texture on a textured 3D mesh."


class Runnable(Protocol):
    """A command with its options set."""

    def run(self) -> int:
        """Carry it out; returns the exit code."""


@dataclass(frozen=True)
class Command:
    """Where a command is, and what it is for."""

    module: str
    name: str
    """The dataclass in the module."""
    purpose: str

    def load(self) -> type[Runnable]:
        """Import the command."""
        kind: type[Runnable] = getattr(importlib.import_module(self.module), self.name)
        return kind


COMMANDS = {
    ("complete",): Command("ostec.app.photos.complete", "Complete", "photos to textured faces"),
    ("invert",): Command("ostec.app.photos.invert", "Invert", "project photos into the face generator"),
    ("transfer",): Command("ostec.app.photos.transfer", "Transfer", "finished textures in other models' layouts"),
    ("generate",): Command("ostec.app.photos.generate", "Generate", "pictures of a face generator"),
    ("train", "prior"): Command("ostec.app.train.prior", "TrainPrior", "fit the texture prior to portraits"),
    ("train", "generator"): Command("ostec.app.train.generator", "TrainGenerator", "train the generator on portraits"),
    ("eval", "head"): Command("ostec.app.eval.head", "EvalHead", "completions of a textured head against its truth"),
    ("eval", "views"): Command("ostec.app.eval.views", "EvalViews", "a completion against other photos of the person"),
    ("eval", "holdout"): Command("ostec.app.eval.holdout", "EvalHoldout", "photos with a part of the face hidden"),
    ("eval", "textures"): Command("ostec.app.eval.textures", "EvalTextures", "figures of a folder of textures"),
    ("eval", "compare"): Command("ostec.app.eval.compare", "EvalCompare", "two evaluations, paired; guards a change"),
    ("bench", "pipeline"): Command("ostec.app.bench.pipeline", "BenchPipeline", "seconds per stage, photos per hour"),
    ("dataset", "build"): Command("ostec.app.dataset.build", "DatasetBuild", "many photos to a dataset of textures"),
    ("dataset", "status"): Command("ostec.app.dataset.build", "DatasetStatus", "how far a dataset is"),
    ("dataset", "resume"): Command("ostec.app.dataset.build", "DatasetResume", "go on with an interrupted build"),
    ("dataset", "verify"): Command("ostec.app.dataset.build", "DatasetVerify", "compare a dataset with its checksums"),
    ("dataset", "stats"): Command("ostec.app.dataset.look", "DatasetStats", "a dataset in numbers"),
    ("dataset", "sheet"): Command("ostec.app.dataset.look", "DatasetSheet", "a page of a dataset's textures"),
    ("dataset", "export"): Command("ostec.app.dataset.export", "DatasetExport", "a dataset for other programs"),
    ("dataset", "filter"): Command("ostec.app.dataset.select", "DatasetFilter", "the good faces of a dataset"),
    ("dataset", "split"): Command("ostec.app.dataset.select", "DatasetSplit", "datasets to train, validate and test"),
    ("dataset", "interpolate"): Command("ostec.app.dataset.interpolate", "DatasetInterpolate", "faces between faces"),
    ("models", "list"): Command("ostec.app.models.models", "ModelsList", "models that can be added, which are here"),
    ("models", "show"): Command("ostec.app.models.models", "ModelsShow", "all that is known of a model"),
    ("models", "fetch"): Command("ostec.app.models.models", "ModelsFetch", "download models and check them"),
    ("models", "verify"): Command("ostec.app.models.models", "ModelsVerify", "compare checksums of models"),
    ("models", "path"): Command("ostec.app.models.models", "ModelsPath", "where a model's files are"),
    ("models", "convert"): Command("ostec.app.models.convert", "Convert", "a published generator as safetensors"),
}
"""Words on the command line -> the command."""
_RUN_OSTEC = Command("ostec.app.photos.complete", "RunOstec", "the command line of the paper's code")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``ostec``; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _guarded(lambda: _dispatch(words), "-v" in words or "--verbose" in words)


def main_ostec(arguments: Sequence[str] | None = None) -> int:
    """``run_ostec.py``, with the options of the paper's code; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _guarded(lambda: _call(_RUN_OSTEC, "run_ostec.py", words), "-v" in words or "--verbose" in words)


def _dispatch(words: list[str]) -> int:
    commands = {key: command for key, command in COMMANDS.items() if importlib.util.find_spec(command.module)}
    if words[:1] == ["--version"]:
        sys.stdout.write(f"ostec {__version__}\n")
        return 0
    for length in (2, 1):
        command = commands.get(tuple(words[:length]))
        if command is not None:
            return _call(command, " ".join(("ostec", *words[:length])), words[length:])
    family = {key: command for key, command in commands.items() if words and key[0] == words[0]} or commands
    asked = [word for word in words if word not in {key[0] for key in family}]
    if asked[:1] in (["-h"], ["--help"]):
        sys.stdout.write(_overview(family))
        return 0
    names = ", ".join(" ".join(key) for key in family)
    if asked and not asked[0].startswith("-") and os.path.lexists(asked[0]):
        return _refuse(f"To complete photos, say: ostec complete {asked[0]!r} --save-dir DIR")
    wrong = f"There is no command {' '.join(words)!r}; there is" if words else "Say what to do:"
    return _refuse(f"{wrong} {names} (see ostec --help).")


def _overview(commands: dict[tuple[str, ...], Command]) -> str:
    width = max(len(" ".join(key)) for key in commands)
    lines = [f"  {' '.join(key):<{width}}  {command.purpose}" for key, command in commands.items()]
    return "\n".join(
        (
            "usage: ostec COMMAND ...",
            "",
            DESCRIPTION,
            "",
            "commands:",
            *lines,
            "",
            "  ostec COMMAND --help   a command's options",
            "  ostec --version",
            "",
        )
    )


def _call(command: Command, program: str, words: list[str]) -> int:
    kind = command.load()
    shown = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding or "utf-8", "replace", newline="\n")
    try:
        with contextlib.nullcontext() if sys.stdout.isatty() else contextlib.redirect_stdout(shown):
            parsed = parse(kind, program, words)
    except SystemExit as end:
        shown.seek(0)
        sys.stdout.write(wrapped(shown.read()) + ("" if end.code else after_help(kind, program)))
        return int(end.code or 0)
    return parsed.run()


def _refuse(sentence: str) -> int:
    """Wrong use, or nothing could start."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"ostec: error: {shown(sentence)}\n")
        sys.stderr.flush()
    return 2


def _guarded(call: Callable[[], int], verbose: bool) -> int:
    """Run ``call``; every error becomes one sentence and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for good
    try:
        code = call()
        sys.stdout.flush()
    except BrokenPipeError:
        code = 0
    except OstecError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as interrupt:
        _refuse("Interrupted; nothing is half-written, and the same command goes on.")
        return int(getattr(interrupt, "exit_code", 130))
    except Exception as error:  # noqa: BLE001 - users get a sentence, not a traceback
        if verbose:
            traceback.print_exc()
        return _refuse(f"Unexpected {type(error).__name__}: {error} (-v shows where).")
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
