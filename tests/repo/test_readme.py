"""What the README shows works."""

import importlib
import re
from pathlib import Path

import pytest


@pytest.fixture
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def test_its_example_compiles_and_runs(readme: str, tmp_path: Path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert example
    (tmp_path / "flows.py").write_text(example[1])
    monkeypatch.syspath_prepend(tmp_path)
    flows = importlib.import_module("flows")
    assert flows.count_all.run_local(texts=["to be", "or not to be"]) == 6


def test_the_examples_of_the_sdk_compile_and_run(repository: Path, tmp_path: Path, monkeypatch):
    first, second = re.findall(r"```python\n(.*?)```", (repository / "services/sdk/README.md").read_text(), re.DOTALL)
    body, shown = first.split("tune.run_local(")
    (tmp_path / "sdk_first.py").write_text(body)
    body, _ = second.split("crawl.run_local(")
    (tmp_path / "sdk_second.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    tune = importlib.import_module("sdk_first").tune
    (tmp_path / "iris.csv").write_text("a\n1\n")
    assert 'mwfs.compile(tune, data="iris.csv", depths=[2, 4])' in shown
    assert len(tune.compile(data=tmp_path / "iris.csv", depths=[2, 4]).nodes) == 4
    crawl = importlib.import_module("sdk_second").crawl
    assert crawl.run_local(sites=["a.org", "b.com"]) == crawl(sites=["a.org", "b.com"]) >= 0.9


def test_the_folders_that_it_names_exist(readme: str, repository: Path):
    named = re.findall(r"^\| `([a-z_/]+/)` \|", readme, re.MULTILINE)
    assert named
    assert [folder for folder in named if not (repository / folder).is_dir()] == []


def test_it_names_every_service(readme: str, repository: Path):
    rooms = {path.name for path in (repository / "services").iterdir() if path.is_dir()}
    assert {room for room in rooms if f"`services/{room}/`" not in readme} == set()


@pytest.fixture
def documents(repository: Path, tracked_files: list[Path]) -> dict[Path, str]:
    """What the services say of themselves."""
    services = repository / "services"
    return {path: path.read_text() for path in tracked_files if path.suffix == ".md" and services in path.parents}


def test_the_files_that_documents_name_exist(documents: dict[Path, str], tracked_files: list[Path]):
    paths = [path.as_posix() for path in tracked_files]
    lost = {
        (document.name, name)
        for document, text in documents.items()
        for name in re.findall(r"`((?:\w+/)*(?:\w+\.(?:py|sql|proto)|\d{4}-[\w-]+(?:\.md)?))`", text)
        if not any(path.endswith((f"/{name}", f"/{name}.md")) for path in paths)
    }
    assert lost == {("README.md", "env.py"), ("README.md", "flows.py")}, "what is said not to be there; a user's file"


def test_the_readmes_of_a_service_name_all_its_modules(
    documents: dict[Path, str], modules: list[Path], repository: Path
):
    """Each by itself, or as part of a folder that is named."""
    for room in (path for path in (repository / "services").iterdir() if path.is_dir()):
        said = "".join(text for path, text in documents.items() if room in path.parents and path.name == "README.md")
        named = set(re.findall(r"`(?:\w+/)*(\w+(?:\.py|/))`", said))
        unnamed = [
            module.as_posix()
            for module in (path.relative_to(room) for path in modules if room in path.parents)
            if not module.name.startswith("__")
            and named.isdisjoint({module.name, *(f"{folder}/" for folder in module.parts[1:-1])})
        ]
        assert unnamed == [], room.name


def test_its_commands_exist(readme: str, repository: Path):
    for command in re.findall(r"^(deploy/\w+|tests/\w+)", readme, re.MULTILINE):
        assert (repository / command).stat().st_mode & 0o111, command
