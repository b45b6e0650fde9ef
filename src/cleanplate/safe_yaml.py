"""YAML from anywhere: plain data alone, of bounded size."""

from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from cleanplate.errors import UserError
from cleanplate.files import read_file

MAX_YAML_BYTES = 4_000_000  # some seconds to read
MAX_NODES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Refuses aliases of aliases, which are short to write and endless to hold."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _unfolded(node, {}) > MAX_NODES:
            raise yaml.YAMLError("its aliases unfold without end; write them out")
        return node


def parse_yaml(text: str) -> Any:
    """Return the plain data that a YAML text holds.

    Raises:
        yaml.YAMLError: it is none, or unfolds to more than a million values.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except Exception as error:  # `!!bool x`, `2001-99-99`: a value that is not of its tag fails in as many ways
        raise yaml.YAMLError(f"a value is not of its kind: {error}") from None


def read_yaml(path: Path, missing: str) -> Any:
    """Return the plain data that a YAML file holds.

    Args:
        path: the file.
        missing: what to say when there is none.

    Raises:
        UserError: the file is missing, too large or no YAML.
    """
    try:
        return parse_yaml(read_file(path, missing, MAX_YAML_BYTES).decode())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None


def _unfolded(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many nodes there are with every alias written out, or some number above MAX_NODES."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # a node within itself never ends
        parts = () if isinstance(node, yaml.ScalarNode) else node.value
        inner = chain.from_iterable(parts) if isinstance(node, yaml.MappingNode) else parts
        known[id(node)] = min(1 + sum(_unfolded(part, known) for part in inner), MAX_NODES + 1)
    return known[id(node)]
