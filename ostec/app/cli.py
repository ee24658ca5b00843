"""The command line: finds the command, parses its options with tyro, turns errors into sentences and exit codes.

A command is a frozen dataclass in a module of its own in ``ostec.app``: its fields are the options, the strings below
them the help, other dataclasses among them groups of options, and ``run() -> int`` carries it out and returns the exit
code. To add one, write the module and give it a line in :data:`COMMANDS`. The module is imported only when its command
is called and before anything is parsed, so it imports what is heavy in ``run``. It does not know tyro: short options,
positional arguments and placeholders are in the tables below.
"""

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import io
import itertools
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_type_hints

import tyro

from ostec import __version__
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

SHORT_OPTIONS = {
    "frontalize": "-f",
    "iterations": "-i",
    "mode": "-m",
    "pickle": "-p",
    "quiet": "-q",
    "verbose": "-v",
}
"""One letter means the same in every command."""
POSITIONAL = frozenset(
    (
        "source",
        "models",
        "model",
        "model_file",
        "mesh",
        "photos",
        "folder",
        "run_a",
        "run_b",
        "checkpoint",
        "target",
        "dataset",
        "results",
    )
)
PLACEHOLDERS = {
    "source": "SOURCE...",
    "mesh": "MESH.obj",
    "results": "RESULT...",
    "Transfer.out": "DIR",
    "Transfer.size": "256..4096",
    "photos": "PHOTO...",
    "folder": "DIR",
    "run_a": "RUN_A",
    "run_b": "RUN_B",
    "models": "[NAME...]",
    "ModelsFetch.models": "NAME[:FILE]...",
    "model": "NAME",
    "model_file": "[FILE]",
    "models_dir": "DIR",
    **{f"Eval{name}.out": "DIR" for name in ("Head", "Views", "Holdout", "Textures", "Compare")},
    "texture": "FILE",
    "part": "MESH.obj...",
    "part_texture": "FILE...",
    "yaws": "DEGREES...",
    "pitches": "DEGREES...",
    "targets": "DEGREES...",
    "pairs": "INPUT:TARGET...",
    "lights": "{unlit,mild,hard}...",
    "BenchPipeline.source": "PHOTO|DIR",
    "BenchProject.generator": "default|FILE",
    "BenchProject.resolution": "PX",
    "BenchProject.channel_base": "CHANNELS",
    "against": "FILE",
    "profile": "FILE",
    "json": "FILE",
    "batches": "NUMBERS...",
    "resolutions": "PX...",
    "BenchScaling.threads": "NUMBERS...",
    "truth": "PHOTO",
    "mask": "FILE",
    "method": "NAME",
    "tolerance": "FIGURE=NUMBER...",
    "portraits": "DIR",
    "work": "DIR",
    "exclude": "DIR",
    "TrainPrior.out": "FILE",
    "TrainGenerator.out": "FILE",
    "grow": "PICTURES...",
    "source_dir": "DIR",
    "save_dir": "DIR",
    "mask_dir": "DIR",
    "generator": "default|none|FILE",
    "InvertSettings.generator": "default|FILE",
    "Generate.generator": "default|FILE",
    "seeds": "SEEDS",
    "latents": "FILE",
    "checkpoint": "FILE",
    "dataset": "DS",
    "licence": "TEXT",
    "attributes": "TABLE|sources",
    "address": "HOST:PORT",
    **{f"PhotoLimits.max_{name}": "DEGREES" for name in ("yaw", "pitch")},
    "PhotoLimits.min_size": "PX",
    **{
        f"PhotoLimits.{name}": "NUMBER"
        for name in (
            *("min_confidence", "min_sharpness", "min_photo_share", "min_brightness", "max_brightness"),
            "max_residual",
        )
    },
    **{f"TextureLimits.{name}": "NUMBER" for name in ("max_symmetry", "min_energy", "max_spread", "min_area_photo")},
    "DatasetBuild.out": "DS",
    "DatasetFilter.out": "DS",
    "DatasetInterpolate.out": "DS",
    "by": "NAME...",
    "where": "NAME=VALUE...",
    **{f"Dataset{name}.out": "DIR" for name in ("Split", "Export", "Stats")},
    "DatasetSheet.out": "FILE.png",
    "sort": "COLUMN",
    "group": "NAME",
    "members": "ENDING...",
    "target": "OUT.safetensors",
    "prior": "default|none|FILE",
    "uv_size": "256..4096",
}
"""By option, or by dataclass and option where one differs from the others."""


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
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed: Any = tyro.cli(
                _described(kind),
                prog=program,
                args=words,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        return _refuse(_as_sentence(errors.getvalue(), program))
    plain: Runnable = _plain(kind, parsed)
    return plain.run()


def _described(kind: type) -> type:
    """A command's dataclass with what tyro wants to know written into the types of its fields."""
    hints = get_type_hints(kind, include_extras=True)
    helps = _helps(kind)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        hint: Any = hints[field.name]
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(hint):
            hint = _described(hint)  # type: ignore[arg-type]
            default = hint(**{f.name: getattr(default, f.name) for f in dataclasses.fields(default)})
        elif field.name in POSITIONAL:
            shape = tyro.conf.arg(
                metavar=PLACEHOLDERS.get(f"{kind.__name__}.{field.name}", PLACEHOLDERS[field.name]),
                help=helps.get(field.name),
                help_behavior_hint="(required)" if default is dataclasses.MISSING else "",
            )
            hint = Annotated[hint, shape, tyro.conf.Positional]
        else:
            shape = tyro.conf.arg(
                aliases=[SHORT_OPTIONS[field.name]] if field.name in SHORT_OPTIONS else None,
                metavar=PLACEHOLDERS.get(f"{kind.__name__}.{field.name}", PLACEHOLDERS.get(field.name)),
                help=helps.get(field.name),
                help_behavior_hint="" if any(default is nothing for nothing in (None, False, ())) else None,
            )
            hint = Annotated[hint, shape]
        fields.append((field.name, hint, dataclasses.field(default=default)))
    described = dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)
    described.__doc__ = kind.__doc__
    return described


def _helps(kind: type) -> dict[str, str]:
    """Field of a dataclass -> the string below it, in one line: as tyro reads it, every line would stand by itself."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body: list[Any] = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(below.value).split())  # type: ignore[union-attr]
    return found


def _plain(kind: Any, described: Any) -> Any:
    """Turn an instance of :func:`_described`'s class back into one of ``kind``."""
    hints = get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        value = getattr(described, field.name)
        values[field.name] = _plain(hints[field.name], value) if dataclasses.is_dataclass(value) else value
    return kind(**values)


def _as_sentence(box: str, program: str) -> str:
    """What tyro says in a box (title, message, suggestions, ...; drawn as the encoding allows), as one line."""
    parts: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines():
        text = line.strip("│ ")
        if text.startswith("╭") or (text and not text.strip("─-╰╯")):
            parts.append([])
        elif text:
            parts[-1].append(text)
    message, suggestions = ([*parts, [], []])[1:3]
    sentence = re.sub(r"^Error parsing (?!-)\S+: ", "", " ".join(message))
    sentence = re.sub(r"^[a-z_]+(?= must )", lambda name: f"--{name[0].replace('_', '-')}", sentence)
    if sentence.startswith("Missing from"):
        named = {PLACEHOLDERS[name] for name in POSITIONAL}
        missing = [text for text in message if text.startswith("-") or text in named]
        sentence = f"{' and '.join(missing)} must be given."
    elif valueless := re.match(r"Missing value for argument '([^']+)'", sentence):
        name = PLACEHOLDERS.get(valueless[1], valueless[1])
        sentence = f"{name} must be given." if name != valueless[1] else f"{name} needs a value."
    elif unread := re.match(r"Error parsing (\S+): Could not find valid parse for arguments: \[(.*)\]", sentence):
        sentence = f"{unread[1]} cannot take {unread[2]}."
    told = " ".join(suggestions)
    similar = re.findall(r"(?:^| )(--[\w-]+)", told) if "Unrecognized" in sentence and "For full" not in told else []
    hint = f"did you mean {' or '.join(dict.fromkeys(similar))}? See" if similar else "see"
    return f"{sentence[:1].upper()}{sentence[1:].rstrip('.')} ({hint} {program} --help)."


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
