"""``config.example.yaml`` runs as it is and shows every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from proxy.config import litellm
from proxy.config.kinds import Kinds, keys_of
from proxy.config.models import DERIVED_FIELDS, Deployment, GeneralSettings, RouterSettings
from proxy.guardrails import registry as guardrails
from proxy.sinks import registry as sinks

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text()


@pytest.mark.parametrize(
    "name",
    sorted({*Deployment.model_fields, *GeneralSettings.model_fields, *RouterSettings.model_fields} - DERIVED_FIELDS),
)
def test_every_key_is_shown(name: str) -> None:
    assert re.search(rf"\b{name}\b", EXAMPLE)


def keys_of_all(kinds: Kinds[Any]) -> set[str]:
    return {key for settings in kinds.classes.values() for key in keys_of(settings)}


@pytest.mark.parametrize("name", sorted(keys_of_all(guardrails.KINDS) - {"where"}))
def test_every_key_of_a_guardrail_is_shown(name: str) -> None:
    _, _, section = EXAMPLE.partition("# guardrails:")
    assert re.search(rf"\b{name}\b", section)


@pytest.mark.parametrize(
    "name",
    sorted(
        {*litellm.CALLBACK_LISTS, *litellm.S3_PARAM_ALIASES, "callback_type", *keys_of_all(sinks.KINDS)}
        - {"name", "kind", "successes", "failures", "where"}
    ),
)
def test_every_key_of_a_callback_is_shown(name: str) -> None:
    _, _, section = EXAMPLE.partition("# litellm_settings:")
    assert re.search(rf"\b{name}\b", section)
