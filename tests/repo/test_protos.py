"""The contract is lint clean, documented, and what the generated code was made from."""

import filecmp
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2

CODES = {code.name for code in grpc.StatusCode}
#: Codes that any call may return; each file with a service says so once, at its top.
CODES_OF_EVERY_CALL = {"UNAUTHENTICATED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}
#: Path of `package`, and of `service[i].method[j]`, in the source information of a descriptor.
PACKAGE_PATH = [2]


@pytest.fixture(scope="session")
def proto_files(repository: Path, tmp_path_factory) -> list[descriptor_pb2.FileDescriptorProto]:
    """Every proto of ours, parsed, with its comments."""
    written = tmp_path_factory.mktemp("protos") / "all.binpb"
    protos = repository / "protos"
    sources = sorted(str(path.relative_to(protos)) for path in protos.glob("mwfs_api/*/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"-I{files('grpc_tools') / '_proto'}"]
    subprocess.run([*command, f"--descriptor_set_out={written}", "--include_source_info", *sources], check=True)
    return list(descriptor_pb2.FileDescriptorSet.FromString(written.read_bytes()).file)


def comment_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The comment above an element."""
    for location in file.source_code_info.location:
        if list(location.path) == path:
            return "\n".join([*location.leading_detached_comments, location.leading_comments])
    return ""


def rpcs(proto_files):
    """Yields each rpc's full name and comment."""
    for file in proto_files:
        for i, service in enumerate(file.service):
            for j, method in enumerate(service.method):
                yield f"{file.package}.{service.name}.{method.name}", comment_at(file, [6, i, 2, j])


def test_generated_code_is_what_the_protos_give(repository: Path, tmp_path: Path):
    subprocess.run([sys.executable, repository / "protos" / "generate.py", tmp_path / "mwfs_api"], check=True)
    committed = repository / "services" / "sdk" / "mwfs_api"

    def differences(comparison: filecmp.dircmp[str]) -> list[str]:
        found = [*comparison.left_only, *comparison.right_only, *comparison.diff_files]
        return found + [name for part in comparison.subdirs.values() for name in differences(part)]

    stale = differences(filecmp.dircmp(committed, tmp_path / "mwfs_api", ignore=["__pycache__"]))
    assert stale == [], "run `python protos/generate.py` and commit the result"


def test_buf_finds_nothing_to_say(repository: Path):
    linted = subprocess.run(["buf", "lint", "protos"], cwd=repository, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_rpc_says_what_it_does(proto_files):
    silent = [name for name, comment in rpcs(proto_files) if len(comment.split()) < 4]
    assert silent == []


def test_every_rpc_names_only_codes_that_exist(proto_files):
    wrong = {
        name: unknown
        for name, comment in rpcs(proto_files)
        if (unknown := set(re.findall(r"\b([A-Z]+(?:_[A-Z]+)+|NOT_FOUND|ABORTED)(?=:)", comment)) - CODES)
    }
    assert wrong == {}


def test_every_service_says_which_codes_any_call_may_return(proto_files):
    for file in proto_files:
        if file.service:
            missing = {code for code in CODES_OF_EVERY_CALL if code not in comment_at(file, PACKAGE_PATH)}
            assert missing == set(), f"the comment at the top of {file.name} does not name {missing}"


def test_every_lookup_by_run_says_what_an_unknown_run_gives(proto_files):
    """A call whose request is about one run must say NOT_FOUND, or in words what an unknown run gives."""
    requests = {message.name: message for file in proto_files for message in file.message_type}
    unsaid = []
    for file in proto_files:
        for i, service in enumerate(file.service):
            for j, method in enumerate(service.method):
                fields = {field.name for field in requests[method.input_type.rsplit(".", 1)[1]].field}
                comment = comment_at(file, [6, i, 2, j])
                if "run_id" in fields and "NOT_FOUND" not in comment and "unknown run" not in comment.lower():
                    unsaid.append(method.name)
    assert unsaid == []
