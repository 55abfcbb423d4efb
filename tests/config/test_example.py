"""``config.example.yaml`` runs as it is and shows every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.config.guardrails import COMMON, KINDS
from proxy.config.models import DERIVED_FIELDS, Deployment, GeneralSettings, RouterSettings
from proxy.config.sinks import FIELDS, LISTS, S3_FIELDS

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text()


@pytest.mark.parametrize(
    "name",
    sorted({*Deployment.model_fields, *GeneralSettings.model_fields, *RouterSettings.model_fields} - DERIVED_FIELDS),
)
def test_every_key_is_shown(name: str) -> None:
    assert re.search(rf"\b{name}\b", EXAMPLE)


@pytest.mark.parametrize("name", sorted({"guardrail_name", *COMMON}.union(*(kind.fields for kind in KINDS.values()))))
def test_every_key_of_a_guardrail_is_shown(name: str) -> None:
    _, _, section = EXAMPLE.partition("# guardrails:")
    assert re.search(rf"\b{name}\b", section)


@pytest.mark.parametrize("name", sorted({*LISTS, *S3_FIELDS}.union(*FIELDS.values())))
def test_every_key_of_a_callback_is_shown(name: str) -> None:
    _, _, section = EXAMPLE.partition("# litellm_settings:")
    assert re.search(rf"\b{name}\b", section)
