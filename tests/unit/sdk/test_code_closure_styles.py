"""Whatever the style in which code is written: a change of what an operator reaches is another digest, and nothing else is."""

from __future__ import annotations

import importlib
import linecache
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mwfs
from mwfs.code_closure import closure_of, code_digest

HEAD = "import mwfs\n"
#: What the operator `op` of each project does; the other files of the project; what is changed in any of them.
REACHED = {
    "lru_cache": ("import functools\n@functools.lru_cache\ndef f(x): return x + 1\n", "f(x)", {}, "x + 1"),
    "lambda": ("f = lambda x: x + 1\ng = lambda x: x + 2\n", "f(x) + g(x)", {}, "x + 2"),
    "lambda of a library": ("import math\nfs = {'a':\n lambda x: math.sin(x)}\n", "fs['a'](x)", {}, "math.sin"),
    "two lambdas of one line": ("f, g = (lambda x: x + 1), (lambda x: x + 2)\n", "g(x)", {}, "x + 2"),
    "partial": ("import functools\ndef p(k, x): return x + k\nf = functools.partial(p, 3)\n", "f(x)", {}, "p, 3"),
    "partial of a function": (
        "import functools\ndef p(k, x): return x + k\nf = functools.partial(p, 3)\n",
        "f(x)",
        {},
        "x + k",
    ),
    "table of functions": ("def mse(x): return x + 1\nLOSSES = {'mse': mse}\n", "LOSSES['mse'](x)", {}, "x + 1"),
    "registered by a decorator": (
        "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f\n@register\ndef a(x): return x + 1\n",
        "TABLE['a'](x)",
        {},
        "x + 1",
    ),
    "decorator without wraps": (
        "def plus(f):\n    def inner(x): return f(x)\n    return inner\n@plus\ndef a(x): return x + 1\n@plus\ndef b(x): return x + 2\n",
        "a(x) + b(x)",
        {},
        "x + 2",
    ),
    "decorator applied by hand": (
        "import functools\ndef plus(f):\n    @functools.wraps(f)\n    def inner(x): return f(x) + 5\n    return inner\n"
        "def a(x): return x + 1\nb = plus(a)\n",
        "b(x)",
        {},
        "+ 5",
    ),
    "argument of a decorator": (
        "import functools\ndef plus(k):\n    def deco(f):\n        @functools.wraps(f)\n        def inner(x): return f(x) + k\n"
        "        return inner\n    return deco\n@plus(7)\ndef a(x): return x + 1\n",
        "a(x)",
        {},
        "plus(7)",
    ),
    "dataclass as constant": (
        "from dataclasses import dataclass\n@dataclass\nclass Conf:\n    depth: int\nCONF = Conf(depth=3)\n",
        "x + CONF.depth",
        {},
        "depth=3",
    ),
    "NamedTuple as constant": (
        "from typing import NamedTuple\nclass Conf(NamedTuple):\n    depth: int\nCONF = Conf(3)\n",
        "x + CONF.depth",
        {},
        "Conf(3)",
    ),
    "object as constant": (
        "class Conf:\n    def __init__(self, depth): self.depth = depth\nCONF = Conf(3)\n",
        "x + CONF.depth",
        {},
        "Conf(3)",
    ),
    "object that is called": (
        "class Plus:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x + self.k\nplus = Plus(3)\n",
        "plus(x)",
        {},
        "x + self.k",
    ),
    "bound method": (
        "class Plus:\n    def __init__(self, k): self.k = k\n    def add(self, x): return x + self.k\nadd = Plus(3).add\n",
        "add(x)",
        {},
        "Plus(3)",
    ),
    "enum": ("import enum\nclass Kind(enum.Enum):\n    TREE = 3\n", "x + Kind.TREE.value", {}, "TREE = 3"),
    "enum as constant": (
        "import enum\nclass Kind(enum.Enum):\n    TREE = 3\n    LINE = 4\nK = Kind.TREE\n",
        "x + K.value",
        {},
        "K = Kind.TREE",
    ),
    "class attribute": ("class Conf:\n    depth = 3\n", "x + Conf.depth", {}, "depth = 3"),
    "attribute set later": ("class Conf:\n    depth = 3\nConf.depth = 4\n", "x + Conf.depth", {}, "depth = 4"),
    "decimal": ("from decimal import Decimal\nK = Decimal('0.1')\n", "int(x + K)", {}, "0.1"),
    "order of a dict": ("K = {'a': 1, 'b': 2}\n", "x + list(K.values())[0]", {}, "'b'"),
    "nested tables": ("def f(x): return x + 1\nK = {'a': [(f, 3)]}\n", "K['a'][0][0](x)", {}, "(f, 3)"),
    "walrus and conditional": (
        "import sys\nif sys.version_info > (3, 1):\n    def f(x): return x + 1\nelse:\n    f = None\n",
        "f(x)",
        {},
        "x + 1",
    ),
    "try import": (
        "try:\n    from helpers import f\nexcept ImportError:\n    f = None\n",
        "f(x)",
        {"helpers": "def f(x): return x + 1\n"},
        "x + 1",
    ),
    "static method": (
        "class T:\n    @staticmethod\n    def f(x): return g(x)\ndef g(x): return x + 1\n",
        "T.f(x)",
        {},
        "x + 1",
    ),
    "class method": (
        "class T:\n    @classmethod\n    def f(cls, x): return g(x)\ndef g(x): return x + 1\n",
        "T.f(x)",
        {},
        "x + 1",
    ),
    "class in a function": (
        "def make(k):\n    class T:\n        def f(self, x): return x + k\n    return T\nT = make(3)\n",
        "T().f(x)",
        {},
        "make(3)",
    ),
    "function in a function": (
        "def make(k):\n    def f(x): return x + k\n    return f\nf, g = make(3), make(4)\n",
        "f(x) + g(x)",
        {},
        "make(4)",
    ),
    "path": ("from pathlib import Path\nK = Path('a') / 'b'\n", "x + len(str(K))", {}, "'b'"),
    "array": ("import numpy as np\nK = np.array([1, 2])\n", "x + int(K[0])", {}, "[1, 2]"),
    "object of a library": ("import argparse\nK = argparse.Namespace(depth=3)\n", "x + K.depth", {}, "depth=3"),
    "object made by a function": (
        "import argparse\ndef make(): return argparse.Namespace(depth=3)\nK = make()\n",
        "x + K.depth",
        {},
        "depth=3",
    ),
    "base class": (
        "class Base:\n    def go(self, x): return x + 1\nclass Sub(Base):\n    pass\n",
        "Sub().go(x)",
        {},
        "x + 1",
    ),
    "property": (
        "class One:\n    @property\n    def size(self): return 3\n",
        "x + One().size",
        {},
        "return 3",
    ),
    "cached property": (
        "import functools\ndef three(): return 3\nclass One:\n    @functools.cached_property\n    def size(self): return three()\n",
        "x + One().size",
        {},
        "return 3",
    ),
    "single dispatch": (
        "import functools\n@functools.singledispatch\ndef f(x): return x\n@f.register\ndef _(x: int): return x + 1\n",
        "f(x)",
        {},
        "x + 1",
    ),
    "context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef ctx(): yield 3\ndef f(x):\n    with ctx() as k: return x + k\n",
        "f(x)",
        {},
        "yield 3",
    ),
    "generator expression": ("def f(x): return x + 1\n", "sum(f(i) for i in range(x))", {}, "x + 1"),
    "default argument": ("def f(x): return x + 1\ndef g(x, f=f): return f(x)\n", "g(x)", {}, "x + 1"),
    "another operator": ("@mwfs.operator\ndef f(x: int) -> int: return x + 1\n", "f(x)", {}, "x + 1"),
    "module": ("import helpers\n", "helpers.f(x)", {"helpers": "def f(x): return x + 1\n"}, "x + 1"),
    "module under another name": ("import helpers as h\n", "h.f(x)", {"helpers": "def f(x): return x + 1\n"}, "x + 1"),
    "constant of a module": ("import helpers\n", "x + helpers.K", {"helpers": "K = 3\n"}, "K = 3"),
    "star import": ("from helpers import *\n", "f(x)", {"helpers": "def f(x): return x + 1\n"}, "x + 1"),
    "name by text": ("import helpers\n", "getattr(helpers, 'f')(x)", {"helpers": "def f(x): return x + 1\n"}, "x + 1"),
    "module of a package": (
        "from pkg.sub import f\n",
        "f(x)",
        {"pkg/__init__": "", "pkg/sub": "from .deep import K\ndef f(x): return x + K\n", "pkg/deep": "K = 3\n"},
        "K = 3",
    ),
    "package by attributes": (
        "import pkg.sub\n",
        "pkg.sub.f(x)",
        {"pkg/__init__": "", "pkg/sub": "def f(x): return x + 3\n"},
        "x + 3",
    ),
    "import inside": ("", "late(x)", {"helpers": "def f(x): return x + 1\n"}, "x + 1"),
    "import inside, of what it imports": (
        "",
        "late(x)",
        {"helpers": "from deeper import g\ndef f(x): return g(x)\n", "deeper": "def g(x): return x + 1\n"},
        "x + 1",
    ),
    "object of another module": (
        "from helpers import CONF\n",
        "x + CONF.depth",
        {"helpers": "import argparse\nCONF = argparse.Namespace(depth=3)\n"},
        "depth=3",
    ),
}
#: Other digits, where not said here.
INSTEAD = {
    "math.sin": "math.cos",
    "x + k": "x - k",
    "x + self.k": "x - self.k",
    "'b'": "'c'",
    "K = Kind.TREE": "K = Kind.LINE",
}
LATE = "def late(x):\n    from helpers import f\n    return f(x)\n"


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, str]], mwfs.Operator[..., int]]]:
    """The operator `op` of `flows.py` in a project of these files, imported anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] in ("flows", "helpers", "deeper", "pkg"):
                del sys.modules[name]
        importlib.invalidate_caches()
        linecache.clearcache()

    def load(files: dict[str, str]) -> mwfs.Operator[..., int]:
        for name, text in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        forget()
        found: mwfs.Operator[..., int] = importlib.import_module("flows").op
        return found

    yield load
    forget()


def files_of(name: str) -> dict[str, str]:
    head, does, others, _ = REACHED[name]
    late = LATE if "late(" in does else ""
    return {
        "flows": f"{HEAD}{head}{late}@mwfs.operator(pure=True)\ndef op(x: int) -> int:\n    return {does}\n"
    } | others


@pytest.mark.parametrize("name", REACHED)
def test_change_of_what_is_reached_is_another_digest(project, name):
    files, what = files_of(name), REACHED[name][3]
    before = code_digest(project(files))
    assert code_digest(project(files)) == before
    (changed,) = [one for one, text in files.items() if what in text]
    new = INSTEAD.get(what) or re.sub(r"\d", lambda digit: str(int(digit[0]) + 5), what)
    assert code_digest(project(files | {changed: files[changed].replace(what, new)})) != before


@pytest.mark.parametrize("name", REACHED)
def test_what_is_not_reached_does_not_count(project, name):
    files = files_of(name)
    before = code_digest(project(files))
    changed = {
        one: f'"""Words."""\n# A comment.\n\n{text}\n\ndef not_used(z):\n    return z\n' for one, text in files.items()
    }
    if name == "name by text":  # any function of the module may be meant
        del changed["helpers"]
    assert code_digest(project(files | changed)) == before


def test_method_counts_with_the_methods_that_it_calls(project):
    text = (
        "import mwfs\nfrom dataclasses import dataclass\n@dataclass\nclass Fit:\n    depth: int\n"
        "    @mwfs.operator(pure=True)\n    def fit(self, x: int) -> int:\n        return self.inner(x)\n"
        "    def inner(self, x):\n        return x + self.depth\nop = Fit.fit\n"
    )
    before = code_digest(project({"flows": text}))
    assert code_digest(project({"flows": text.replace("x + self", "x - self")})) != before


def test_quoted_annotation_leads_to_its_class(project):
    text = (
        "import mwfs\nfrom typing import NamedTuple\nclass Row(NamedTuple):\n    a: int\n    def more(self): return self.a + 1\n"
        "@mwfs.operator(pure=True)\ndef op(row: 'Row') -> int:\n    return row.more()\n"
    )
    before = code_digest(project({"flows": text}))
    assert code_digest(project({"flows": text.replace("self.a + 1", "self.a + 2")})) != before


def test_module_imported_inside_counts_the_same_whether_or_not_it_is_loaded(project):
    files = files_of("import inside")
    before = code_digest(project(files))
    files["flows"] = f"import helpers\n{files['flows']}"
    assert code_digest(project(files)) == before


def test_digest_does_not_depend_on_the_folder_or_the_process(project, tmp_path):
    sources = {
        "flows": f"{HEAD}from pathlib import Path\nimport helpers\nK = {{'b', 'a', 'c'}}\nHERE = 1\n"
        "@mwfs.operator(pure=True)\ndef op(x: int) -> int:\n    Path(__file__)\n    return helpers.f(x) + len(K)\n",
        "helpers": "import logging\nLOG = logging.getLogger('a')\ndef f(x):\n    LOG.info(x)\n    return x\n",
    }
    before = code_digest(project(sources))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, text in sources.items():
        (elsewhere / f"{name}.py").write_text(text)
    there = subprocess.run(
        [sys.executable, "-c", "import flows; from mwfs.code_closure import code_digest; print(code_digest(flows.op))"],
        cwd=elsewhere,
        env={"PYTHONPATH": str(elsewhere), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == before


def test_parts_are_named_for_people(project):
    files = files_of("module of a package")
    names = [part.name for part in closure_of(project(files)).parts]
    assert names == ["flows:op", "pkg.sub:K", "pkg.sub:f"]
