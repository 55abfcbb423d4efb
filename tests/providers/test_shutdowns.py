"""What is reported about models that their vendor retires."""

from __future__ import annotations

from datetime import date

import pytest

from proxy.config import Config, Deployment, Mode
from proxy.providers import shutdowns


def deployment(group: str, model: str, api_base: str | None = None) -> Deployment:
    return Deployment(
        id=group, group=group, vendor="openai", model=model, mode=Mode.SPEECH, api_base=api_base, where="c.yaml:3"
    )


CONFIG = Config(
    path="c.yaml",
    deployments=(
        deployment("ears", "whisper-1"),
        deployment("mouth", "tts-1"),
        deployment("own", "tts-1", "http://gpu:8000/v1"),
        deployment("new", "gpt-transcribe"),
    ),
)


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ("2026-11-23", "is retired in 44 days, on 2027-01-06"),
        ("2027-01-05", "is retired in 1 day, on 2027-01-06"),
        ("2027-01-06", "is retired today, 2027-01-06"),
        ("2027-01-07", "was retired 1 day ago, on 2027-01-06"),
        ("2027-02-06", "was retired 31 days ago, on 2027-01-06"),
    ],
)
def test_the_days_left(today: str, said: str) -> None:
    found = shutdowns.shutdowns(CONFIG, date.fromisoformat(today))
    assert [shutdown.deployment.group for shutdown in found] == ["mouth", "ears"]
    assert str(found[0]) == f"'mouth' (openai/tts-1) {said}"


@pytest.mark.parametrize(
    ("today", "named"),
    [
        ("2026-10-01", []),
        ("2026-11-06", []),
        ("2026-11-07", ["mouth"]),
        ("2026-12-28", ["mouth", "ears"]),
        ("2027-03-01", ["mouth", "ears"]),
    ],
)
def test_the_start_warns_of_those_within_sixty_days(today: str, named: list[str]) -> None:
    warning = shutdowns.warning(shutdowns.shutdowns(CONFIG, date.fromisoformat(today)))
    assert (warning is not None) == bool(named)
    assert [name for name in ("mouth", "ears") if f"'{name}'" in (warning or "")] == named
    assert "\n" not in (warning or "")
