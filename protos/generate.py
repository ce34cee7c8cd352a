"""Generates services/sdk/mwfs_api from the protos: `python protos/generate.py [OUTPUT_DIR]`."""

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
OUTPUT = PROTOS.parent / "services" / "sdk" / "mwfs_api"


def generate(output: Path) -> None:
    """Writes the Python package `mwfs_api` to `output`, replacing what is there."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("mwfs_api/*/v1/*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [
            "protoc",
            f"-I{PROTOS}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={scratch}",
            f"--grpc_python_out={scratch}",
            f"--mypy_out={scratch}",
            f"--mypy_grpc_out={scratch}",
            *sources,
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed: see the lines above")
        package = Path(scratch) / "mwfs_api"
        for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
            (folder / "__init__.py").write_text('"""Generated from protos/; do not edit."""\n')
        (package / "py.typed").touch()
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(package, output)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
