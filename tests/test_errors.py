from cleanplate.errors import LONGEST, UserError


def test_message_is_a_line_whatever_a_file_holds() -> None:
    assert str(UserError("a\nb\x1b[2J: is wrong; mend it")) == "a\\nb\\x1b[2J: is wrong; mend it"
    assert str(UserError("grün 写真: fine")) == "grün 写真: fine"


def test_long_message_keeps_its_file_and_its_mend() -> None:
    message = str(UserError(f"a.yaml: {'x' * 10**6}; mend it"))
    assert len(message) < LONGEST + 10
    assert message.startswith("a.yaml: xxx")
    assert message.endswith("xxx; mend it")
