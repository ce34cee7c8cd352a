"""The page of compile errors in the SDK's README lists every error, and every way in which a future must not be used."""

import re
from pathlib import Path

from mwfs import errors
from mwfs.errors import CompileError
from mwfs.futures import _MISUSES

README = Path(__file__).parents[3] / "services/sdk/README.md"

#: Rows about futures → the special methods that they speak of.
OF_FUTURES = {
    "condition": {"bool"},
    "iteration": {"next", "reversed", "index", "aiter"},
    "length": set[str](),
    "search": {"contains"},
    "text": {"format", "str", "bytes"},
    "number": {"int", "float", "complex", "trunc", "floor", "ceil"},
    "arithmetic": {"divmod", "rdivmod", "matmul", "rmatmul", "lshift", "rlshift", "rshift", "rrshift", "invert"},
    "key": {"hash"},
    "change": {"setitem", "delitem"},
    "class": set[str](),
    "identity": set[str](),
    "library": set[str](),
    "other": {"call", "fspath", "await", "enter", "exit", "reduce_ex"},
}


def rows() -> list[tuple[str, str, str, str]]:
    """(error, kind, cause, cure) of each row."""
    lines = README.read_text().splitlines()
    found = []
    for line in lines[lines.index("| error | cause | cure |") + 2 :]:
        if not line.startswith("|"):
            break
        name, cause, cure = (cell.strip() for cell in line.replace("\\|", "").strip("|").split("|"))
        matched = re.fullmatch(r"`(\w+)`(?:: (\w+))?", name)
        assert matched, name
        found.append((matched[1], matched[2] or "", cause, cure))
    return found


def test_every_compile_error_has_a_row_and_every_row_an_error() -> None:
    classes = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, CompileError)}
    assert {row[0] for row in rows()} == classes - {"CompileError"}
    assert all(cause and cure for _, _, cause, cure in rows())


def test_every_use_of_a_future_that_is_refused_is_in_a_row() -> None:
    assert {row[1] for row in rows() if row[0] == "FutureAsValue"} == set(OF_FUTURES)
    assert {f"__{name}__" for names in OF_FUTURES.values() for name in names} == set(_MISUSES)


def test_every_row_is_tested_by_a_mistake() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py") if path != Path(__file__))
    for name, _, _, _ in rows():
        assert re.search(rf"\b{name}\b[,)]", tests), f"no test sees {name}"
