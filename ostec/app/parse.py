"""Words on the command line -> a command with its options set: tyro, and what it refuses as a sentence."""

import dataclasses
import difflib
import functools
import itertools
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import tyro

# tyro offers what it refuses in no other way than drawn on the screen, and keeps the docstrings' line breaks.
from tyro import _docstrings
from tyro._errors import (
    BadValue,
    InstantiationFailure,
    InvalidChoice,
    MissingArgs,
    ParseErrorEvent,
    UnrecognizedArgs,
    on_parse_error,
)
from tyro.conf import Positional, arg

from ostec.app.checks import read_toml
from ostec.core.errors import UsageError
from ostec.core.settings import flat

if TYPE_CHECKING:
    from tyro._arguments import ArgumentDefinition

T = TypeVar("T")
_docstrings_of = _docstrings.parse_docstring_from_object


def _flowing(kind: object) -> dict[str, str]:
    """What the docstrings say of the fields of ``kind``, each in one line, for the help to break."""
    return {name: " ".join(text.split()) for name, text in _docstrings_of(kind).items()}


_docstrings.parse_docstring_from_object = _flowing  # type: ignore[assignment]


def parse(kind: type[T], program: str, words: list[str]) -> T:
    """Build the command ``kind`` from the words that follow its name, ``program``.

    Raises:
        UsageError: a word cannot be understood, or a value is out of range.
        SystemExit: the help has been shown.
    """

    def explain(event: ParseErrorEvent) -> None:
        sentence = _sentence(event)
        unknown = _unknown(event, words, kind)
        if unknown:
            raise UsageError(f"Unrecognized options: {', '.join(unknown)} ({_meant(unknown, kind)} {program} --help).")
        if sentence:  # of what is new here, tyro says something itself
            raise UsageError(f"{_dashed(sentence, kind)} (see {program} --help).")

    own = list(itertools.takewhile(lambda word: word != "--", words))
    shown = kind
    if "--help-all" in own:
        words = ["--help"]
    elif {"-h", "--help"} & set(own):
        shown = _main_options(kind)
    if "config" in {name.removeprefix("--") for name in _names(kind)}:
        words = [*_configured(own), *words]
    try:
        with on_parse_error(explain):
            config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
            return tyro.cli(shown, prog=program, args=words, config=config)
    except ValueError as error:  # a group of options refuses a value
        raise UsageError(f"{_dashed(str(error), kind)} (see {program} --help).") from error


def option_names(kind: Any) -> list[str]:
    """The long options of a command but for those of stages, ``--uv-size``; ``--no-browser`` for what is on."""
    positions = {
        _option(name)
        for group in (kind, *(one for one in get_type_hints(kind).values() if dataclasses.is_dataclass(one)))
        for name, hint in get_type_hints(group, include_extras=True).items()
        if Positional[int].__metadata__[0] in getattr(hint, "__metadata__", ())  # type: ignore[attr-defined]
    }
    on = {_option(field.name) for field in dataclasses.fields(kind) if field.default is True}
    names = [name for name in _names(kind) if "." not in name and name not in positions]
    return [f"--no-{name[2:]}" if name in on else name for name in names]


def after_help(kind: Any, program: str, examples: Sequence[str], showed_all: bool) -> str:
    """What follows the help of a command: the groups that it did not show, and examples."""
    groups: dict[str, list[str]] = {}
    for name in _names(kind):
        group, _, rest = name.removeprefix("--").partition(".")
        if rest:
            groups.setdefault(group, []).append(rest)
    told = [f"  {group}: {', '.join(names)}" for group, names in groups.items()]
    lines = []
    if told and not showed_all:
        lines = ["", f"More settings, as --GROUP.NAME; {program} --help-all explains them:", *told]
    lines += ["", "Examples:", *(f"  {program} {example}".rstrip() for example in examples)]
    return wrapped("\n".join([*lines, ""]))


def wrapped(text: str) -> str:
    """Text whose lines fit the terminal, or 80 columns where there is none."""
    width = shutil.get_terminal_size().columns
    return "".join(_fitting(line, width) for line in text.splitlines(keepends=True))


def _fitting(line: str, width: int) -> str:
    if len(line.rstrip()) <= width:
        return line
    indent = "      " * line.startswith(" ")
    return textwrap.fill(line.rstrip(), width, subsequent_indent=indent, break_on_hyphens=False) + "\n"


def _main_options(kind: Any, inside: bool = False) -> Any:
    """A command as its help first shows it: without the groups in its groups, which are many and long."""
    hints = get_type_hints(kind)
    changed: list[Any] = []
    for field in dataclasses.fields(kind):
        hint, default = hints[field.name], field.default_factory
        if not dataclasses.is_dataclass(hint) or default is dataclasses.MISSING:
            continue
        if inside:
            changed.append(
                (field.name, Annotated[hint, tyro.conf.Suppress], dataclasses.field(default_factory=default))
            )
        else:
            short = _main_options(hint, inside=True)
            values = {one.name: getattr(default(), one.name) for one in dataclasses.fields(hint)}
            new = dataclasses.field(default_factory=functools.partial(short, **values))
            changed.append((field.name, Annotated[short, arg(name="")], new))
    namespace = {"__doc__": kind.__doc__}
    return dataclasses.make_dataclass(kind.__name__, changed, bases=(kind,), namespace=namespace, frozen=True)


def _configured(words: list[str]) -> list[str]:
    """The options that the file of ``--config`` sets. Raises UsageError where it is no such file."""
    given = [after for word, after in itertools.pairwise([*words, ""]) if word == "--config"]
    given += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    return [word for file in given for word in _words_of(flat(read_toml(Path(file), "--config")))]


def _words_of(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is True:
            yield _option(name)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value):
                yield from _words_of(flat(one, f"{name}.{number}."))
        elif value is not False:
            yield from (_option(name), *map(str, value if isinstance(value, list) else [value]))


def _sentence(event: ParseErrorEvent) -> str:
    """What tyro does not accept; empty where it is something else than what is known here."""
    if isinstance(event, MissingArgs):
        return f"{' and '.join(_usage(missing.arg) for missing in event.missing_arguments)} must be given"
    if isinstance(event, InvalidChoice):
        return f"{_name(event.argument)} must be one of {', '.join(event.choices)}, got {event.value!r}"
    if isinstance(event, BadValue):
        return f"{_name(event.argument)} {'must be given' if event.argument.is_positional() else 'needs a value'}"
    if isinstance(event, InstantiationFailure) and event.argument is not None:
        return f"{_name(event.argument)}: {event.message}"
    return event.message if isinstance(event, InstantiationFailure) else ""


def _unknown(event: ParseErrorEvent, words: list[str], kind: type) -> list[str]:
    """Words that the command does not know; they come before what it misses."""
    if isinstance(event, UnrecognizedArgs):
        return event.tokens
    if not isinstance(event, MissingArgs | BadValue):
        return []
    options = itertools.takewhile(lambda word: word != "--", words)
    return [word for word in options if word.startswith("--") and _option(word.partition("=")[0]) not in _names(kind)]


def _meant(unknown: list[str], kind: type) -> str:
    known = list(_names(kind))
    similar = [name for word in unknown for name in difflib.get_close_matches(_option(word), known, 3, 0.8)]
    return f"did you mean {' or '.join(dict.fromkeys(similar))}? See" if similar else "see"


def _dashed(sentence: str, kind: type) -> str:
    """A sentence that begins with the name of a setting, with the option's name in its place."""
    first, _, rest = sentence.rstrip(".").partition(" ")
    known, option = list(_names(kind)), _option(first)
    options = [option] if option in known else [name for name in known if name.endswith(f".{option[2:]}")]
    return f"{options[0]} {rest}" if len(options) == 1 else f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}"


def _option(name: str) -> str:
    return f"--{name.removeprefix('--').replace('_', '-')}"


def _names(kind: Any, prefix: str = "", inside: bool = False) -> Iterator[str]:
    """The long options of a command; those of its groups have no prefix, those of groups in these have one."""
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _names(hint, f"{prefix}{name}." if inside else prefix, inside=True)
        else:
            yield _option(prefix + name)


def _name(argument: "ArgumentDefinition") -> str:
    """``--save-dir``, or the placeholder of what has a position."""
    return str(argument.lowered.metavar) if argument.is_positional() else argument.lowered.name_or_flags[-1]


def _usage(argument: "ArgumentDefinition") -> str:
    """``--save-dir DIR``, or the placeholder of what has a position."""
    name = _name(argument)
    return name if argument.is_positional() else f"{name} {argument.lowered.metavar}"
