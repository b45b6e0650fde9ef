from pathlib import Path

import pytest
import yaml

from cleanplate.errors import UserError
from cleanplate.safe_yaml import MAX_YAML_BYTES, parse_yaml, read_yaml


def test_aliases_are_read() -> None:
    assert parse_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


LISTS = "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]\n" for n in range(9))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LISTS, "aliases unfold without end"),
        (MERGES, "aliases unfold without end"),
        ("&a [*a]", "aliases unfold without end"),
        ("&a {b: {c: *a}}", "aliases unfold without end"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2001-99-99", "not of its kind"),
        ("a: !!bool maybe", "not of its kind"),
        ("a: !!timestamp soon", "not of its kind"),
        ("a: " + "9" * 5000, "not of its kind"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: [", "expected the node content"),
    ],
    ids=["lists", "merges", "itself", "far within itself", "deep", "date", "bool", "time", "digits", "code", "open"],
)
def test_what_is_endless_or_no_data_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(yaml.YAMLError, match=words):
        parse_yaml(text)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"a\.yaml: not readable as YAML \(.*{words}"):
        read_yaml(tmp_path / "a.yaml", "missing")


def test_large_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.yaml: not there; make it"):
        read_yaml(tmp_path / "a.yaml", "not there; make it")
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(MAX_YAML_BYTES + 1)
    with pytest.raises(
        UserError, match=r"a\.yaml: takes 4,000,001 bytes, and at most 4,000,000 are read; give a smaller"
    ):
        read_yaml(tmp_path / "a.yaml", "missing")
