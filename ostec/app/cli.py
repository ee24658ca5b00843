"""The command line: finds the command, parses its options with tyro, turns errors into sentences and exit codes.

A command is a frozen dataclass in a module of its own in ``ostec.app``: its fields are the options, the strings below
them the help, other dataclasses among them groups of options, and ``run() -> int`` carries it out and returns the exit
code. Short names, placeholders and positions are annotations of the fields, as tyro reads them. To add a command, write
the module and give it an entry in the table below. The module is imported only when its command is called and before
anything is parsed, so it imports what is heavy in ``run``.
"""

import contextlib
import difflib
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ostec import __version__
from ostec.app.parse import after_help, parse, wrapped
from ostec.core.errors import OstecError, out_of_memory
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
    examples: tuple[str, ...] = ()
    """What follows ``ostec COMMAND``, for its help."""

    def load(self) -> type[Runnable]:
        """Import the command."""
        kind: type[Runnable] = getattr(importlib.import_module(self.module), self.name)
        return kind


_TABLE = """
complete: photos.commands.Complete: photos to textured faces
    photo.jpg -o results | photos/ -o results --frontalize | photos/ -o results --face-model ict --batch 8
fuse: photos.fuse.Fuse: several photos or a video of one person to one face
    left.jpg front.jpg right.jpg --name anna -o results | turning.mp4 --name anna -o results
fit: photos.fit.Fit: photos to faces fitted by their colours
    photo.jpg -o fitted | photo.jpg -o fitted --face-model ict | photo.jpg -o fitted --published
frontalize: photos.frontalize.Frontalize: photos to frontal portraits
    photos/ -o frontal | photos/ -o aligned --size 112 --align arcface
invert: photos.commands.Invert: project photos into the face generator
    photos/ -o inverted | photos/ -o inverted --mask-dir masks
edit: photos.edit.Edit: faces turned, made neutral, lit evenly in a generator
    photo.jpg -o edited --light even --expression neutral --yaw 0 | inverted/a.npz -o edited --views front,left,right
transfer: photos.commands.Transfer: finished textures in other models' layouts
    results/ --to ict | results/a.json --to flame -o flame --size 2048
track: track.track.Track: a video or camera to a moving head
    clip.mp4 -o tracked | clip.mp4 -o tracked --preview | camera:0 -o tracked --live-link 127.0.0.1:11111
relight: photos.commands.Relight: finished faces under another light
    results/ --light 45,30,white -o relit | results/a.json --light studio.hdr -o relit
uv-idm: photos.uv_idm.UvIdm: textures with UV-IDM's checkpoints
    --images-list-file list.txt --outdir out | --images-list-file list.txt --outdir out --ddim-steps 20
generate: photos.generate.Generate: pictures of a face generator
    --seeds 0-9 -o pictures | --seeds 0-9 -o pictures --generator stylegan2_ffhq
app: web.command.App: all of this in the browser, offline
     | --port 0 | --host 0.0.0.0
shell-completion: shell_completion.ShellCompletion: commands and options for the shell to complete
     | bash
models list: models.models.ModelsList: models that can be added, which are here
     | -v
models show: models.models.ModelsShow: all that is known of a model
    arcface | stylegan2_ffhq
models fetch: models.models.ModelsFetch: download models and check them
    arcface bisenet lpips | stylegan2_ffhq --dry-run
models verify: models.models.ModelsVerify: compare checksums of models
     | arcface
models path: models.models.ModelsPath: where a model's files are
    stylegan2_ffhq | lpips vgg16.pth
models convert: models.convert.Convert: a published generator as safetensors
    ffhq.pkl ffhq.safetensors | ffhq.pkl ffhq.safetensors --overwrite
dataset build: dataset.build.DatasetBuild: many photos to a dataset of textures
    photos/ -o faces | photos/ -o faces --dry-run | photos.tar -o faces --workers 4 --licence CC-BY-4.0
dataset status: dataset.build.DatasetStatus: how far a dataset is
    faces | /data/faces
dataset resume: dataset.build.DatasetResume: go on with an interrupted build
    faces | faces --retry-failed
dataset verify: dataset.build.DatasetVerify: compare a dataset with its checksums
    faces | faces --repair
dataset stats: dataset.look.DatasetStats: a dataset in numbers
    faces | faces -o stats
dataset sheet: dataset.look.DatasetSheet: a page of a dataset's textures
    faces -o sheet.png | faces -o sheet.png --sort yaw_deg --frontal
dataset export: dataset.look.DatasetExport: a dataset for other programs
    faces -o wds --format webdataset | faces -o files --format folder --members uv.png json
dataset filter: dataset.select.DatasetFilter: the good faces of a dataset
    faces -o good --max-yaw 30 --no-occluders | faces -o women --where Gender=female 'Age>=18'
dataset split: dataset.select.DatasetSplit: datasets to train, validate and test
    faces -o split | faces -o split --group person
dataset interpolate: dataset.interpolate.DatasetInterpolate: faces between faces
    faces -o mixed --count 1000 | faces -o mixed --count 1000 --by Gender
eval head: eval.head.EvalHead: completions of a textured head against its truth
    head.obj --texture head.png -o judged | head.obj --texture head.png -o judged --baselines
eval views: eval.views.EvalViews: a completion against other photos of the person
    left.jpg front.jpg right.jpg -o judged | left.jpg --truth front.jpg -o judged
eval holdout: eval.holdout.EvalHoldout: photos with a part of the face hidden
    photos/ -o judged | photos/ -o judged --masks profile --baselines
eval textures: eval.textures.EvalTextures: figures of a folder of textures
    results/ -o judged | textures/ -o judged --layout whole
eval track: eval.track.EvalTrack: tracking of clips drawn of people's heads
    photo.jpg -o judged | a.jpg b.jpg c.jpg -o judged --smooth 0.7
eval compare: eval.compare.EvalCompare: two evaluations, paired; guards a change
    before after | before after -o compared --tolerance psnr_unseen=0.5
train prior: train.prior.TrainPrior: fit the texture prior to portraits
    --portraits portraits -o prior.safetensors | --portraits portraits --exclude photos --components 60
train generator: train.generator.TrainGenerator: train the generator on portraits
    --portraits portraits --work work | --portraits portraits --work work --device cuda --images 1000000
train decoder: train.decoder.TrainDecoder: train a generator of UV maps on a dataset
    faces --work work -o decoder.safetensors | faces --work work -o decoder.safetensors --member albedo.png --size 256
train diffusion: train.diffusion.TrainDiffusion: train the diffusion model on portraits
    --portraits portraits --work work -o own.safetensors |
    --portraits portraits --work work -o own.safetensors --images 200000
train edits: train.edits.TrainEdits: fit how a generator's latents are edited
    -o edits.safetensors | -o edits.safetensors --generator stylegan2_ffhq --samples 5000
"""
"""Command: module and class in ``ostec.app``: purpose; below it examples of what follows the command, for its help."""


def _read_table() -> Iterator[tuple[tuple[str, ...], Command]]:
    for entry in re.split(r"\n(?=\S)", _TABLE.strip()):
        head, _, examples = entry.partition("\n")
        words, place, purpose = head.split(": ")
        module, _, name = place.rpartition(".")
        yield (
            tuple(words.split()),
            Command(f"ostec.app.{module}", name, purpose, tuple(map(str.strip, " ".join(examples.split()).split("|")))),
        )


COMMANDS = dict(_read_table())
"""Words on the command line -> the command."""
BEGIN_WITH = (("app",), ("complete",), ("models", "list"), ("dataset", "build"))
"""What who is new needs first."""
FAMILIES = {
    "": "Photos and faces",
    "models": "Models",
    "dataset": "Datasets",
    "eval": "Evaluation",
    "train": "Training",
}
_RUN_OSTEC = Command(
    "ostec.app.photos.commands",
    "RunOstec",
    "the command line of the paper's code",
    ("--source_dir photos --save_dir results", "--source_dir photos --save_dir results -f -i 200"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``ostec``; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _guarded(lambda: _dispatch(words), "-v" in words or "--verbose" in words)


def main_ostec(arguments: Sequence[str] | None = None) -> int:
    """``run_ostec.py``, with the options of the paper's code; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _guarded(lambda: _call(_RUN_OSTEC, "run_ostec.py", words), "-v" in words or "--verbose" in words)


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        sys.stdout.write(f"ostec {__version__}\n")
        return 0
    if words[:1] in ([], ["help"]):
        words = [*words[1:], "--help"]
    for length in (2, 1):
        command = COMMANDS.get(tuple(words[:length]))
        if command is not None:
            return _call(command, " ".join(("ostec", *words[:length])), words[length:])
    family = words[0] if words[0] in FAMILIES else ""
    if words[-1] in ("-h", "--help") and len(words) == 1 + bool(family):
        sys.stdout.write(_overview(family))
        return 0
    if not family and not words[0].startswith("-") and os.path.lexists(words[0]):
        return _complete_beside(words)
    return _refuse(_unknown(words, family))


def _complete_beside(words: list[str]) -> int:
    """``ostec PHOTO``: complete it into a folder beside it."""
    photo = Path(words[0])
    own = {word.partition("=")[0] for word in words}
    if not own & {"-o", "--save-dir", "--save_dir", "-h", "--help"}:
        folder = photo.with_name(f"{photo.stem}_ostec")
        words = [*words, "--save-dir", str(folder)] if "--" not in words else ["--save-dir", str(folder), *words]
        if not own & {"-q", "--quiet"}:
            sys.stderr.write(f"ostec: The results go into {shown(folder)}.\n")
    return _call(COMMANDS["complete",], "ostec complete", words)


def _unknown(words: list[str], family: str) -> str:
    """What there is in place of a command that is none."""
    keys = [key for key in COMMANDS if not family or key[0] == family]
    known = {key[-1] if family else key[0]: " ".join(key if family else key[:1]) for key in keys}
    similar = difflib.get_close_matches(words[-1] if family else words[0], known, 2) if words[-1] != family else []
    asked = " ".join(words[: 2 if family else 1])
    if similar:
        meant = " or ".join(known[word] for word in similar)
        return f"There is no command {asked!r} (did you mean {meant}? See ostec help)."
    return f"There is no command {asked!r}; there is {', '.join(' '.join(key) for key in keys)} (see ostec help)."


def _overview(family: str = "") -> str:
    """The commands, or those of one family."""
    width = max(len(" ".join(key)) for key in COMMANDS)

    def told(keys: Iterable[tuple[str, ...]]) -> list[str]:
        return [f"  {' '.join(key):<{width}}  {COMMANDS[key].purpose}" for key in keys]

    lines = [f"usage: ostec {family or 'COMMAND'} ..."]
    if not family:
        lines += ["       ostec PHOTO", "", DESCRIPTION, "", "Begin with:", *told(BEGIN_WITH)]
    for name, title in FAMILIES.items():
        keys = [
            key for key in COMMANDS if (key[0] if len(key) > 1 else "") == name and (family or key not in BEGIN_WITH)
        ]
        lines += ["", f"{title}:", *told(keys)] if not family or name == family else []
    lines += ["", "  ostec help COMMAND   a command's options and examples", "  ostec --version", ""]
    return "\n".join(lines)


def _call(command: Command, program: str, words: list[str]) -> int:
    kind = command.load()
    shown = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding or "utf-8", "replace", newline="\n")
    try:
        with contextlib.nullcontext() if sys.stdout.isatty() else contextlib.redirect_stdout(shown):
            parsed = parse(kind, program, words)
    except SystemExit as end:
        shown.seek(0)
        after = "" if end.code else after_help(kind, program, command.examples, "--help-all" in words)
        sys.stdout.write(wrapped(shown.read()) + after)
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
        if lacking := out_of_memory(error):
            return _refuse(f"There is {lacking}.")
        return _refuse(f"Unexpected {type(error).__name__}: {error} (-v shows where).")
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
