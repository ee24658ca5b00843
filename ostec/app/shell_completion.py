"""``ostec shell-completion``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional

from ostec.app.options import option

_SCRIPT = """# Completes the commands and options of ostec; for zsh, after: autoload -U bashcompinit && bashcompinit
_ostec() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
            {families}) [ "$COMP_CWORD" -gt 2 ] && set -- "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" || set -- "${{COMP_WORDS[1]}}" ;;
            *) set -- "${{COMP_WORDS[1]}}" ;;
        esac
        case "$1" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    case "$word" in
        -*) ;;
        *) COMPREPLY+=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _ostec ostec
"""  # noqa: E501


@dataclass(frozen=True)
class ShellCompletion:
    """Print what completes commands and options in the shell: eval "$(ostec shell-completion bash)"."""

    shell: Annotated[Literal["bash"], Positional, option(metavar="SHELL")] = "bash"
    """bash; zsh reads it too."""

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.console import say

        say(script().rstrip("\n"))
        return 0


def script() -> str:
    """The functions that the shell is to read."""
    from ostec.app.cli import COMMANDS, FAMILIES

    families = [name for name in FAMILIES if name]
    commands = [*dict.fromkeys(words[0] for words in COMMANDS), "help"]
    return _SCRIPT.format(commands=" ".join(commands), families="|".join(families), cases="\n".join(_cases(families)))


def _cases(families: list[str]) -> Iterator[str]:
    from ostec.app.cli import COMMANDS
    from ostec.app.parse import option_names

    for family in families:
        yield _case(family, [words[1] for words in COMMANDS if words[0] == family])
    for words, command in COMMANDS.items():
        yield _case(" ".join(words), [*option_names(command.load()), "--help"])
    yield _case("help", [words[0] for words in COMMANDS])


def _case(name: str, words: list[str]) -> str:
    return f"""            "{name}") words="{" ".join(dict.fromkeys(words))}" ;;"""
