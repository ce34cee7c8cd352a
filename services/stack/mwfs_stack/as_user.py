"""Become another user, ask to die with the parent, then become another program. Standard library only.

`python -I -S as_user.py UID GID PARENT SIGNAL PROGRAM ARGUMENT…`; UID -1 stays as it is; PARENT 0 outlives its parent.

A program of its own, because a `preexec_fn` forks a process that has threads. The order matters: the kernel forgets
the wish to die with the parent when the user changes.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    uid, gid, parent, signal_number = (int(word) for word in arguments[:4])
    program = arguments[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if parent and sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.umask(0o077)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"cannot run {program[0]} as user {os.geteuid()}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
