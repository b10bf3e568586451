"""Durations, image references, addresses and texts in messages."""

import tomllib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.config.errors import closest, quoted, show, show_line, show_list
from celadon.config.placeholders import expand
from celadon.config.values import ImageRef, SshAddress, duration, http_path, private_address, say_duration, url
from celadon.core.errors import Refused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("1.5s", 1.5), ("2m", 120), ("1m30s", 90), ("2h", 7200), ("1d", 86400), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@given(st.integers(min_value=0, max_value=10**11))
def test_a_duration_said_is_read_back(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert duration(say_duration(value)) == value


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "5S", "1s1m", "1m1m", "5sec", "+5s", "5s\n", "1e3s", "\uff19s"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(Refused):
        duration(text)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("hello", "docker.io/library/hello"),
        ("acme/hello", "docker.io/acme/hello"),
        ("ghcr.io/acme/hello", "ghcr.io/acme/hello"),
        ("localhost/hello", "localhost/hello"),
        ("127.0.0.1:5000/a/b-c/d__e.f", "127.0.0.1:5000/a/b-c/d__e.f"),
    ],
)
def test_image_references(text: str, whole: str) -> None:
    assert str(ImageRef.parse(text)) == whole
    assert ImageRef.parse(whole) == ImageRef.parse(text)


@pytest.mark.parametrize(
    "text", ["hello:", "hello@", "a//b", "/a", "a/", "-a", "a b", "ghcr.io/", "a:b:c", "a/../b", "é"]
)
def test_what_is_not_an_image(text: str) -> None:
    with pytest.raises(Refused):
        ImageRef.parse(text)


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("web-1", SshAddress("web-1"), "web-1"),
        ("root@203.0.113.22", SshAddress("203.0.113.22", "root"), "203.0.113.22"),
        ("deploy@web.example.com:2222", SshAddress("web.example.com", "deploy", 2222), "web.example.com-2222"),
        ("root@[2001:db8::1]:22", SshAddress("2001:db8::1", "root", 22), "2001-db8--1-22"),
    ],
)
def test_ssh_addresses(text: str, address: SshAddress, name: str) -> None:
    assert SshAddress.parse(text) == address
    assert str(address) == text
    assert address.name == name


@pytest.mark.parametrize(
    "text", ["", "@web", "root@", "a b", "-o", "root@-o", "web:0", "web:", "[::zz]", "a@b@c", "web\n"]
)
def test_what_is_not_an_ssh_address(text: str) -> None:
    with pytest.raises(Refused):
        SshAddress.parse(text)


def test_private_addresses() -> None:
    for text in ("192.168.130.22", "10.0.0.5", "172.16.0.1", "127.0.0.11"):
        assert private_address(text) == text
    for text in ("169.254.1.1", "224.0.0.1", "1.1.1.1", "::1", "10.0.0.256", "010.0.0.1", ""):
        with pytest.raises(Refused):
            private_address(text)


def test_http_paths() -> None:
    for text in ("/", "/healthz?deep=1", "/a%20b"):
        assert http_path(text) == text
    for text in ("", "a", "/a b", "/#x", "/é", "/\n"):
        with pytest.raises(Refused):
            http_path(text)


def test_urls() -> None:
    assert url("http://198.51.100.7/") == "http://198.51.100.7"
    assert url("https://[2001:db8::1]:8443") == "https://[2001:db8::1]:8443"
    for text in (
        "",
        "http://",
        "http://a?x",
        "http://a#x",
        "http://a\n",
        "http://a:0",
        "ftp://a",
        "http://é",
        "http://a_b/c",
    ):
        with pytest.raises(Refused):
            url(text)


@given(st.text())
def test_whatever_is_shown_is_one_short_printable_line(text: str) -> None:
    for shown in (show(text), show_line(text)):
        assert shown.isprintable()
        assert len(shown) < 700
    assert show_list([text] * 20).isprintable()


@given(st.text())
def test_a_text_in_quotes_is_read_back(text: str) -> None:
    assert tomllib.loads(f"a = {quoted(text)}")["a"] == text


def test_a_long_text_says_how_long_it_is() -> None:
    assert show("x" * 1_000_000).endswith('x…" (1,000,000 characters)')
    assert show('a\\"\n') == '"a\\\\\\"\\n"'
    assert show_list(["a", "b", "c"], most=2) == "a, b and 1 more"


def test_the_closest_word() -> None:
    assert closest("intervall", ["interval", "path"]) == "interval"
    assert closest("Warm-Up", ["warm_up"]) == "warm_up"
    assert closest("kubernetes", ["interval", "path"]) is None
    assert closest("x" * 100_000, ["x" * 99_999]) is None


def test_placeholders_expand_once() -> None:
    assert expand("{host}:{port} {other} {host}", {"host": "{port}", "port": "80"}) == "{port}:80 {other} {port}"
