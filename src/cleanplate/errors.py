"""The one error that is the user's to mend."""

LONGEST = 2000
"""Characters of a message: a file may hold a name of a megabyte."""


class UserError(ValueError):
    """A fault in what the user gave: a file, a setting, a folder.

    The message is one line that names the file or key and the mend. The command line prints it and exits with 2;
    everything else that is raised is a fault of cleanplate's own.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Return `text` as a line to print: what a foreign file holds may neither break it nor command the terminal."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
