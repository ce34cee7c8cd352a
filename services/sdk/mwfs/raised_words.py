"""What to say when a workflow's own body raised: how it came there, and what to do about an error of that kind."""

from __future__ import annotations

from mwfs.locations import is_library, shown_file, user_entries

#: Characters of the error's own message that are told.
_MAX_MESSAGE = 2000

Errors = type[BaseException] | tuple[type[BaseException], ...]

#: The first row that the error is of.
_FIXES: list[tuple[Errors, str]] = [
    (ImportError, "install the module, or import it inside the operator that needs it"),
    (NameError, "correct the name: the body is ordinary Python, and runs while compiling"),
    (
        (OSError, EOFError),
        "read and write inside an operator; a file that the workflow starts from is an input: `data: mwfs.File`",
    ),
    (SystemExit, "return the result, or raise an error that says what is wrong"),
    (
        (MemoryError, TimeoutError),
        "move this work into an operator: the body only says which operators are called on what",
    ),
    (AssertionError, "correct the inputs, or what the line demands of them"),
    (
        (LookupError, ArithmeticError, ValueError),
        "correct this line, or the inputs: the body runs once while compiling, on the inputs' values and on futures",
    ),
    ((AttributeError, TypeError), "correct this line: futures have what their types have, all else is ordinary Python"),
]
_OTHERWISE = (
    "the body runs once while compiling, on the inputs' values and on futures; move other work into an operator"
)


def message_of(error: BaseException) -> str:
    """The error's own words after a colon, shortened; empty when it has none."""
    text = str(error)
    return f": {text[:_MAX_MESSAGE]}{'…' * (len(text) > _MAX_MESSAGE)}" if text else ""


def way_to(error: BaseException) -> str:
    """The error's class, and through which of the user's functions it was raised: "KeyError in `helper`, called at flows.py:12"."""
    words = type(error).__qualname__
    frames = [
        (entry.tb_frame.f_code, entry.tb_lineno)
        for entry in user_entries(error.__traceback__)
        if not is_library(entry.tb_frame.f_code.co_filename)
    ]
    if len(frames) < 2:
        return words
    (first, line), (last, _) = frames[0], frames[-1]
    return f"{words} in `{last.co_qualname}`, called at {shown_file(first.co_filename)}:{line}"


def fix_of(error: BaseException) -> str:
    """What to do about it."""
    return next((fix for kinds, fix in _FIXES if isinstance(error, kinds)), _OTHERWISE)
