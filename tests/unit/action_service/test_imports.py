"""Only worker processes import the SDK."""

import subprocess
import sys

SCRIPT = "import sys, mwfs_action_service.app; sys.exit('mwfs' in sys.modules)"


def test_the_service_itself_never_imports_the_sdk() -> None:
    assert subprocess.run([sys.executable, "-c", SCRIPT], check=False).returncode == 0
