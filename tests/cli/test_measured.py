"""What a trial measured, as findings: a table."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from celadon.cli.measured import findings, superseded
from celadon.core.trial import Answer, SlowFacts, TrialFacts
from tests.cli.test_losses import config
from tests.cli.worlds import WELL

HANGS = {"stopped": None, "exit_code": 137}


def facts(**changes: Any) -> TrialFacts:
    return msgspec.structs.replace(WELL, **changes)


def unwell(status: int | None, error: str = "", **changes: Any) -> TrialFacts:
    return facts(passed=None, probe=Answer(ok=False, status=status, error=error, seconds=0.1), **changes)


CASES = [
    (facts(exit_code=1, patience=0.0, lines=("no database",)), "start", "ended by itself (exit 1)", "| no database"),
    (facts(listening=None), "port", "listened on no port", "wrote nothing"),
    (facts(listening=None, elsewhere=("0.0.0.0:9000",)), "port", "listens on 0.0.0.0:9000 and not on 5000", "9000"),
    (facts(listening=None, elsewhere=("127.0.0.1:5000",)), "port", "127.0.0.1:5000 only", "0.0.0.0"),
    (unwell(302, location="/login"), "health", "/ redirects to /login (302)", "health.path"),
    (unwell(400), "health", "answered 400", "host_header"),
    (unwell(404), "health", "answered 404", "no such path"),
    (unwell(None, "no answer within 5 s"), "health", "no answer within 5 s", "wrote nothing"),
    (facts(passed=119.0), "health", "passed only after 119.0 s, of 120 s", "start_within"),
    (facts(stopped=39.0), "stop", "ended only 39.0 s after SIGTERM", "stop_timeout"),
    (facts(**HANGS), "stop", "still ran 40 s after SIGTERM", "end the server"),
    (facts(program="sh", hears=False, **HANGS), "pid 1", "a shell (sh) is PID 1", "exec"),
    (facts(program="java", hears=False, **HANGS), "pid 1", "java is PID 1", "tini"),
]


@pytest.mark.parametrize(("seen", "name", "text", "hint"), CASES)
def test_each_loss_is_one_warning_with_a_hint(
    tmp_path: Path, seen: TrialFacts, name: str, text: str, hint: str
) -> None:
    (warning,) = [each for each in findings(config(tmp_path, source=False), seen, "") if each.grade == "warning"]
    assert warning.name == name
    assert text in warning.text
    assert hint in warning.hint


@pytest.mark.parametrize(
    ("slow", "grade", "text"),
    [
        (SlowFacts(in_flight=True, status=200, seconds=3.0, error=""), "ok", "answered: 200 after 3.0 s"),
        (SlowFacts(in_flight=True, status=None, seconds=1.2, error="reset"), "warning", "cut after 1.2 s (reset)"),
        (SlowFacts(in_flight=False, status=200, seconds=0.1, error=""), "warning", "nothing was measured"),
    ],
)
def test_a_request_in_flight(tmp_path: Path, slow: SlowFacts, grade: str, text: str) -> None:
    found = findings(config(tmp_path, source=False), facts(slow=slow), "/slow")[-1]
    assert (found.name, found.grade) == ("in flight", grade)
    assert text in found.text


def test_a_release_that_is_well_has_no_warning(tmp_path: Path) -> None:
    found = findings(config(tmp_path, source=False), facts(), "")
    assert {each.grade for each in found} == {"ok"}
    assert "not measured: --slow PATH" in found[-1].text


def test_a_trial_answers_only_the_predictions_that_it_measured() -> None:
    assert {"pid 1", "port", "address"} <= superseded(facts())
    assert "stop" not in superseded(facts())  # how long open requests are given was not measured
    assert superseded(facts(listening=None)) == {"start"}


def test_what_the_application_wrote_cannot_move_the_cursor(tmp_path: Path) -> None:
    seen = facts(exit_code=1, patience=0.0, lines=("\x1b[2J",))
    assert "\x1b" not in findings(config(tmp_path, source=False), seen, "")[0].hint
