"""The two ways a command ends badly: it failed while running, or it was asked something wrong."""


class OnefillError(Exception):
    """A failure while running, told to the user in one line (exit code 1)."""

    exit_code = 1


class BadInput(OnefillError):  # noqa: N818 - it reads as what the user gave, not as a bug
    """Something the user gave cannot be used (exit code 2).

    The message is one line: it names the file or the flag, says what is wrong with it, and
    ends with the next thing to try.
    """

    exit_code = 2
