"""What a host says of its own making."""

from pathlib import Path

import pytest

from celadon.agent.first_boot import LAB, trouble


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"v1": {"datasource": "DataSourceAkamai", "errors": []}}', ""),
        (
            '{"v1": {"errors": ["(\'scripts_user\', RuntimeError(\'1 failed\'))", "more"]}}',
            "ended with errors: ('scripts",
        ),
        ("{", "cannot be read"),
        ('{"v1": []}', "cannot be read"),
        (None, "still at work"),
    ],
)
def test_what_cloud_init_wrote(text: str | None, says: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    said = trouble(tmp_path)
    assert says in said
    assert bool(says) is bool(said)


def test_a_host_without_cloud_init_and_a_labs_instance_have_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trouble(tmp_path / "none") == ""
    monkeypatch.setenv(LAB, "one")
    assert trouble(tmp_path) == ""
