"""What can go wrong when the platform is started, stopped or asked for its state.

StackError              exit code  what the user does
├── BadOption                   2  corrects the option
├── HomeUnusable                2  chooses another home, or corrects its permissions
├── PortTaken                   2  frees the port, or chooses another
├── CannotStart                 1  reads the log lines that the message shows
├── CannotStop                  1  looks at the process that the message names
└── NotRunning                  3  starts the platform
"""

from typing import ClassVar

from mwfs.errors import MwfsError


class StackError(MwfsError):
    """One paragraph that says what was expected, what was found, and what to do next. The CLI shows it."""

    exit_code: ClassVar[int] = 1


class BadOption(StackError):
    exit_code = 2


class HomeUnusable(StackError):
    exit_code = 2


class PortTaken(StackError):
    exit_code = 2


class CannotStart(StackError):
    exit_code = 1


class CannotStop(StackError):
    exit_code = 1


class NotRunning(StackError):
    exit_code = 3
