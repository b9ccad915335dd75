"""The command line of a script: a dataclass is the schema, and whatever is wrong is told on one line."""

import json
import re
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fomm.errors import InputError

if TYPE_CHECKING:
    import jsonargparse

T = TypeVar("T")


def parse(
    schema: type[T],
    script: str,
    arguments: Sequence[str] | None,
    *,
    description: str | None,
    usage: str | None = None,
    gather: bool = False,
) -> T:
    """The options of a script.

    Args:
        schema: a dataclass; its fields are the options, its docstring explains them. Its annotations are not postponed:
            to evaluate them, jsonargparse would run what its module imports for type checkers only.
        script: file name, for the help text.
        arguments: None: those that the script was started with.
        gather: whether options that are lists take one value after another, as `gathered` does.

    Raises:
        InputError: unknown, missing or wrong options.
    """
    import jsonargparse

    parser = jsonargparse.ArgumentParser(prog=script, usage=usage, description=description, exit_on_error=False)
    parser.add_class_arguments(schema)
    types = get_type_hints(schema)
    if gather:
        lists = [name for name, kind in types.items() if get_origin(kind) is list]
        arguments = gathered(sys.argv[1:] if arguments is None else arguments, lists)
    return schema(**values(parser, arguments, types, f"python {script}"))


def choose_command(script: str, description: str, commands: Mapping[str, str]) -> str:
    """The command that comes first on the command line; `--help` lists them and ends the program.

    Args:
        script: as it is started, for texts.
        commands: name, in which - is as good as _ -> what it does.

    Raises:
        InputError: none of them.
    """
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked in ("-h", "--help"):
        parser = ArgumentParser(prog=script, description=description)
        listed = parser.add_subparsers(metavar="COMMAND")
        for name, what in commands.items():
            listed.add_parser(name, help=what)
        parser.parse_args()
    name = asked.replace("-", "_")
    if name not in commands:
        wrong = f"no command is called {asked!r}" if asked else "a command is missing"
        raise InputError(f"{wrong}; choose from {', '.join(commands)} (`{script} --help` explains them)")
    return name


def call(function: Callable[..., object], script: str, arguments: Sequence[str], *, as_positional: bool) -> None:
    """Call a function with what a command line says: its arguments are options, and so are the fields of a dataclass
    among them.

    Raises:
        InputError: as `parse`, or what the function raises.
    """
    import jsonargparse

    types = get_type_hints(function)
    types.pop("return", None)
    schemas: dict[str, Any] = {name: kind for name, kind in types.items() if is_dataclass(kind)}
    parser = jsonargparse.ArgumentParser(prog=script, exit_on_error=False)
    parser.add_argument("--config", action="config", help="Path to a configuration file.")
    parser.add_function_arguments(function, as_positional=as_positional, skip=set(schemas))
    for kind in schemas.values():
        parser.add_class_arguments(kind)
        types |= get_type_hints(kind)
    given = values(parser, arguments, types, script)
    given.pop("config")
    built = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in schemas.items()}
    function(**given, **built)


def values(
    parser: "jsonargparse.ArgumentParser", arguments: Sequence[str] | None, types: Mapping[str, Any], script: str
) -> dict[str, Any]:
    """What the options say, by name; `types` are theirs. Raises InputError for unknown, missing or wrong options."""
    try:
        return parser.parse_args(arguments).as_dict()
    except ArgumentError as error:
        message = str(error)
        wrong = re.match(r'Parser key "(\w+)".*value: (.*)', message, re.DOTALL)
        if wrong:
            value = wrong[2].strip().partition("\n")[0]
            message = f"--{wrong[1]}: {value!r} must be {_in_words(types[wrong[1]])}"
        raise InputError(f"{message}; `{script} --help` explains the options") from error


def _in_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(get_args(annotation))}"
    if get_origin(annotation) is list:
        return f"a list of values, each {_in_words(get_args(annotation)[0])}"
    kinds = get_args(annotation) or (annotation,)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return next((name for kind, name in names.items() if kind in kinds), "the name of a file or folder")


def gathered(arguments: Sequence[str], lists: Collection[str]) -> list[str]:
    """All values after the options of `lists`, however often each is given, become one list; --fail-if is --fail_if.

    >>> gathered(["--checkpoint", "a", "b", "--fail-if", "l1 > 1", "--checkpoint=c"], ["checkpoint"])
    ['--fail_if', 'l1 > 1', '--checkpoint=["a", "b", "c"]']
    """
    result: list[str] = []
    values: dict[str, list[str]] = {}
    last = ""
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            last = name.replace("-", "_").replace("__", "--", 1)
            if last[2:] in lists:
                values.setdefault(last, []).extend([value] if equals else [])
            else:
                result.append(last + equals + value)
        elif last in values and argument != "-h":
            values[last].append(argument)
        else:
            result.append(argument)
    return result + [f"{name}={json.dumps(given)}" if given else name for name, given in values.items()]
