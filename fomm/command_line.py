"""The command line of a script: a dataclass is the schema, and whatever is wrong is told on one line."""

import json
import re
from argparse import ArgumentError
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fomm.errors import InputError

T = TypeVar("T")


def parse(
    schema: type[T], script: str, arguments: Sequence[str] | None, *, description: str | None, usage: str | None = None
) -> T:
    """The options of a script.

    Args:
        schema: a dataclass; its fields are the options, its docstring explains them. Its annotations are not postponed:
            to evaluate them, jsonargparse would run what its module imports for type checkers only.
        script: file name, for the help text.
        arguments: None: those that the script was started with.

    Raises:
        InputError: unknown, missing or wrong options.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=script, usage=usage, description=description, exit_on_error=False)
    parser.add_class_arguments(schema)
    try:
        return schema(**parser.parse_args(arguments).as_dict())
    except ArgumentError as error:
        message = str(error)
        wrong = re.match(r'Parser key "(\w+)".*value: (.*)', message, re.DOTALL)
        if wrong:
            value = wrong[2].strip().partition("\n")[0]
            message = f"--{wrong[1]}: {value!r} must be {_in_words(get_type_hints(schema)[wrong[1]])}"
        raise InputError(f"{message}; `python {script} --help` explains the options") from error


def _in_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(get_args(annotation))}"
    if get_origin(annotation) is list:
        return f"a list of values, each {_in_words(get_args(annotation)[0])}"
    kinds = get_args(annotation) or (annotation,)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return next(name for kind, name in names.items() if kind in kinds)


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
        elif last in values:
            values[last].append(argument)
        else:
            result.append(argument)
    return result + [f"{name}={json.dumps(given)}" if given else name for name, given in values.items()]
