"""The habits that a machine can check: names, words, paths, first lines, loud skips."""

import ast
import re
from pathlib import Path

#: A name that says nothing about a responsibility (habit 37).
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}
#: Words that have another word here (the glossary in README.md), kept to those with no second, honest meaning.
FORBIDDEN_WORDS = re.compile(r"\b(pipelines?|tenants?|buckets?|blobs?|tasks?)\b", re.IGNORECASE)
#: Folders of one machine, put together from parts so that this file does not hold them.
MACHINE_PATHS = re.compile(
    "|".join(
        "/" + "/".join(parts) + "/" for parts in [("work", "main"), ("work", "shared"), ("root",), ("tmp", "plan")]
    )
)


def test_no_file_has_a_name_that_says_nothing(repository: Path, tracked_files: list[Path]):
    empty = [
        str(path.relative_to(repository))
        for path in tracked_files
        if EMPTY_NAMES & {Path(part).stem for part in path.relative_to(repository).parts}
    ]
    assert empty == []


def test_the_first_line_of_a_module_says_what_it_is_for(repository: Path, trees: dict[Path, ast.Module]):
    silent = []
    for path, tree in trees.items():
        if tree.body and not (ast.get_docstring(tree) or "").strip():
            silent.append(str(path.relative_to(repository)))
    assert silent == []


def test_every_room_has_a_readme(repository: Path):
    rooms = sorted(path for path in (repository / "services").iterdir() if path.is_dir())
    assert [room.name for room in rooms if not (room / "README.md").is_file()] == []


def test_documents_use_the_words_of_the_glossary(repository: Path, tracked_files: list[Path]):
    found = []
    for path in tracked_files:
        if path.suffix == ".md":
            text = re.sub(r"## Words\n.*?(?=\n## |\Z)", "", path.read_text(), flags=re.DOTALL)
            for word in FORBIDDEN_WORDS.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
                found.append(f"{path.relative_to(repository)}: {word}")
    assert found == []


def test_nothing_names_a_folder_of_one_machine(repository: Path, tracked_files: list[Path]):
    found = []
    for path in tracked_files:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(repository)}:{number}: {line.strip()[:80]}")
    assert found == []


def name_of(node: ast.expr) -> str:
    """`pytest.mark.skip` for that expression."""
    return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""


def is_silent_skip(node: ast.AST) -> bool:
    """Whether an expression skips a test and gives no reason."""
    if isinstance(node, ast.Call):
        given = {keyword.arg for keyword in node.keywords}
        match name_of(node.func):
            case "pytest.skip" | "skip" | "pytest.xfail":
                return not node.args and not given & {"reason", "msg"}
            case "pytest.mark.skip" | "pytest.mark.xfail" | "pytest.mark.skipif":
                return "reason" not in given
    return False


def bare_marks(tree: ast.AST) -> list[ast.expr]:
    """Decorators such as `@pytest.mark.skip` without a call."""
    return [
        decorator
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for decorator in node.decorator_list
        if name_of(decorator) in {"pytest.mark.skip", "pytest.mark.xfail"}
    ]


def test_every_skip_gives_its_reason(repository: Path, trees: dict[Path, ast.Module]):
    silent = []
    for path, tree in trees.items():
        if repository / "tests" in path.parents:
            found = [node for node in ast.walk(tree) if is_silent_skip(node)] + bare_marks(tree)
            silent += [f"{path.relative_to(repository)}:{node.lineno}" for node in found]  # type: ignore[attr-defined]
    assert silent == []


def test_skips_are_printed_at_the_end_of_a_run(repository: Path):
    assert "-ra" in (repository / "pyproject.toml").read_text()
