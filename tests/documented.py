"""The commands that a page of the documentation shows, for tests that run them."""

import re
import shlex


def console_commands(page: str) -> list[list[str]]:
    """Return the words of every command after a `$` in the page's console blocks, in their order."""
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]
