"""Who served an answer. Nobody is a right answer; somebody else is a wrong one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.core.attribution import Attribution, Known

OLD, NEW = Known("aaaaaaaaaa", "v1.1"), Known("bbbbbbbbbb", "v1.1.0")


def who(text: str, contains: str = "{version}", *known: Known, **headers: str) -> str | None:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Attribution(known or (OLD, NEW), contains).who(text, names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello from App Version: v1.1.0!", NEW.id),
        ("Hello from App Version: v1.1!", OLD.id),
        ('{"version":"v1.1"}', OLD.id),
        ("we run v1.1.", OLD.id),
        ("v1.1", OLD.id),
        ("v1.1.0-rc1", None),
        ("v1.10", None),
        ("v1.1.01", None),
        ("dev1.1", None),
        ("old: v1.1, new: v1.1.0", None),
        ("maintenance", None),
        ("", None),
    ],
)
def test_a_version_in_the_text_stands_alone(text: str, expected: str | None) -> None:
    assert who(text) == expected


def test_a_bare_number_may_follow_a_letter() -> None:
    known = (Known("a", "1.0"), Known("b", "2.1.0"))
    assert who("v1.0", "{version}", *known) == "a"
    assert who("2.1.0", "{version}", *known) == "b"
    assert who("11.0 3.1.0", "{version}", *known) is None


def test_words_are_not_found_inside_words() -> None:
    assert who("<p>our domain</p>", "{version}", Known("a", "main")) is None


def test_the_template_is_text_not_a_pattern() -> None:
    assert who("[v1.1.0] .*", "[{version}] .*") == NEW.id
    assert who("xv1.1.0x", ".{version}.") is None


def test_two_releases_of_one_version_need_the_release_id() -> None:
    twins = (Known("aaaaaaaaaa", "v1"), Known("bbbbbbbbbb", "v1"))
    assert who("v1", "{version}", *twins) is None
    assert who("bbbbbbbbbb", "{release}", *twins) == "bbbbbbbbbb"
    assert who("", "{version}", *twins, X_Release="v1") is None
    assert who("", "{version}", *twins, X_Release="aaaaaaaaaa") == "aaaaaaaaaa"


def test_a_text_that_is_the_same_for_all_says_nothing() -> None:
    assert who("Hello", "Hello") is None
    assert who("Hello", "Hello", X_Release="v1.1") == OLD.id


def test_headers_serve_where_the_text_is_silent() -> None:
    assert who("", "", X_Release=" v1.1.0 ") == NEW.id
    assert who("", "", X_Celadon_Release=OLD.id, X_Release="v1.1.0") == OLD.id
    assert who("v1.1", "{version}", X_Release="v1.1.0") == OLD.id
    assert who("", "", X_Release="v1.1.0.1") is None


@given(st.text(), st.text(), st.text())
def test_no_text_breaks_it(version: str, contains: str, text: str) -> None:
    assert who(text, contains + "{version}", Known("a", version)) in ("a", None)
