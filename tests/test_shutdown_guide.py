"""Every configuration of ``docs/openai-audio-shutdown.md`` loads, and keeps every ended model name answering."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.commands import configuration
from proxy.config import Config, Environment, Mode
from proxy.matching import BoundDeployment, serves, translates
from proxy.providers import chat_models, registry
from proxy.routing import checks
from tests.conftest import MASTER_KEY, ROOT

GUIDE = (ROOT / "docs" / "openai-audio-shutdown.md").read_text()
#: By the heading above each.
BLOCKS = {
    heading: re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    for heading, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
}
CASES = [(heading, text) for heading, texts in BLOCKS.items() for text in texts]
SPEECH = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
TRANSCRIPTION = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize")
LAST_DAY = "2027-02-26"
#: A server of one's own has no speakers, as the guide says.
WITHOUT_SPEAKERS = {"Your own machine"}

cases = pytest.mark.parametrize(("heading", "text"), CASES, ids=[heading for heading, _ in CASES])


def loaded(text: str, folder: Path) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    keys = {name: "sk-dummy" for vendor in registry.VENDORS.values() for name in vendor.key_variables}
    environ = keys | {"PROXY_MASTER_KEY": MASTER_KEY}
    return configuration.load(path, environ)


def lines(config: Config) -> Mapping[str, list[BoundDeployment]]:
    """The deployments behind each name that callers may use."""
    environment = Environment(config.environment)
    groups = {
        name: [BoundDeployment(deployment, registry.bind(deployment, environment)) for deployment in deployments]
        for name, deployments in config.groups.items()
    }
    return groups | {alias: groups[name] for alias, name in config.router.model_group_alias.items()}


def test_the_guide_has_them() -> None:
    assert len(CASES) >= 8
    assert len(CASES) == GUIDE.count("```yaml")


@cases
def test_it_loads_without_a_problem(heading: str, text: str, tmp_path: Path) -> None:
    config = loaded(text, tmp_path)
    assert [*registry.problems(config), *chat_models.problems(config), *checks.problems(config)] == []
    assert config.skipped == ()
    assert config.warnings == ()


@cases
def test_every_ended_name_goes_on_after_the_last_day(heading: str, text: str, tmp_path: Path) -> None:
    serving = lines(loaded(text, tmp_path))
    for names, mode in ((SPEECH, Mode.SPEECH), (TRANSCRIPTION, Mode.TRANSCRIPTION)):
        for name in names:
            left = [line for line in serving[name] if serves(line, mode)]
            dates = [line.adapter.capabilities.shutdown_date for line in left]
            assert any(date is None or date > LAST_DAY for date in dates), name


@cases
def test_translations_and_times_and_speakers_go_on(heading: str, text: str, tmp_path: Path) -> None:
    config = loaded(text, tmp_path)
    serving = lines(config)
    whisper = [line for line in serving["whisper-1"] if not _ends(line)]
    translator = config.general.translation_model
    assert any(translates(line) for line in whisper) or translator in config.translators
    assert any(_knows(line, "srt") for line in whisper)
    speakers = [line for line in serving["gpt-4o-transcribe-diarize"] if not _ends(line)]
    assert heading in WITHOUT_SPEAKERS or any(_knows(line, "diarized_json") for line in speakers)


def _ends(line: BoundDeployment) -> bool:
    return (line.adapter.capabilities.shutdown_date or "9999") <= LAST_DAY


def _knows(line: BoundDeployment, response_format: str) -> bool:
    able = line.adapter.capabilities.response_formats
    return able is None or response_format in able


def test_the_readme_names_the_guide() -> None:
    assert "docs/openai-audio-shutdown.md" in (ROOT / "README.md").read_text()
