"""``guardrails``: what is read, and what is refused with its line."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.domain.guardrails import Stage
from proxy.guardrails.pii import ENTITIES, PiiSettings
from proxy.guardrails.webhook import WebhookSettings
from tests.config.conftest import Load, Problems

ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"
PII = "guardrails: [{guardrail_name: g, litellm_params: {guardrail: pii, mode: pre_call, %s}}]"


def one(load_text: Load, params: str) -> Any:
    (guardrail,) = load_text(ENTRY + f"guardrails: [{{guardrail_name: g, litellm_params: {{{params}}}}}]").guardrails
    return guardrail


def test_the_entry_of_the_documentation(load_text: Load) -> None:
    config = load_text(
        ENTRY
        + """
guardrails:
  - guardrail_name: no-cards
    litellm_params: {guardrail: pii, mode: pre_call, entities: [CREDIT_CARD, EMAIL], action: redact}
    default_on: true
"""
    )
    (guardrail,) = config.guardrails
    assert isinstance(guardrail, PiiSettings)
    assert (guardrail.name, guardrail.guardrail, guardrail.mode) == ("no-cards", "pii", (Stage.PRE_CALL,))
    assert (guardrail.default_on, guardrail.action) == (True, "redact")
    assert guardrail.entities == ("CREDIT_CARD", "EMAIL")
    assert guardrail.where == "config.yaml:4"


def test_litellms_ways_to_write_it(load_text: Load) -> None:
    params = "guardrail: pii, mode: [pre_call, post_call], default_on: true, entities: [EMAIL_ADDRESS, IBAN_CODE]"
    guardrail = one(load_text, params)
    assert guardrail.default_on
    assert guardrail.mode == (Stage.PRE_CALL, Stage.POST_CALL)
    assert guardrail.entities == ("EMAIL", "IBAN")


def test_defaults(load_text: Load) -> None:
    guardrail = one(load_text, "guardrail: pii, mode: during_call")
    assert (guardrail.entities, guardrail.regions, guardrail.action) == (ENTITIES, ("US",), None)
    assert guardrail.default_on is False
    webhook = one(load_text, "guardrail: webhook, mode: during_call, url: 'http://x'")
    assert (webhook.timeout, webhook.on_failure) == (5, "block")


def test_secrets_come_from_the_environment_and_are_hidden(load_text: Load) -> None:
    text = (
        ENTRY + "guardrails: [{guardrail_name: g, litellm_params: {guardrail: webhook, mode: pre_call, "
        "url: 'https://example.com/x', headers: {authorization: os.environ/TOKEN}}}]"
    )
    config = load_text(text, {"PROXY_MASTER_KEY": "sk-9f3kQz7LmW2xTb8RvYc5", "TOKEN": "canary-5b1f"})
    (webhook,) = config.guardrails
    assert isinstance(webhook, WebhookSettings)
    assert webhook.headers["authorization"].get_secret_value() == "canary-5b1f"
    assert "canary" not in config.model_dump_json() + repr(config)


@pytest.mark.parametrize("section", ["guardrails: []", "guardrails:"])
def test_none(load_text: Load, section: str) -> None:
    assert load_text(ENTRY + section).guardrails == ()


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ("guardrail: presidio, mode: pre_call", "unknown guardrail 'presidio'; use one of pii, blocked_words, "),
        ("guardrail: pi, mode: pre_call", "did you mean 'pii'?"),
        (
            "guardrail: my_module.Mine, mode: pre_call",
            "for a class of your own, use guardrail: custom and class: module.Class",
        ),
        ("mode: pre_call", "'guardrail' is missing in litellm_params; use one of pii, "),
        ("guardrail: pii", "'mode' is missing"),
        ("guardrail: pii, mode: []", "'mode' in litellm_params must not be empty"),
        ("guardrail: pii, mode: pre_cal", "did you mean 'pre_call'?"),
        ("guardrail: pii, mode: {tags: {a: b}}", "'mode' in litellm_params"),
        (
            "guardrail: pii, mode: pre_call, entities: [CREDITCARD]",
            "'entities' in litellm_params must be 'CREDIT_CARD', ",
        ),
        ("guardrail: pii, mode: pre_call, entities: []", "'entities' in litellm_params must not be empty"),
        ("guardrail: pii, mode: pre_call, entities: [[IP]]", "'entities' in litellm_params must be 'CREDIT_CARD', "),
        ("guardrail: pii, mode: pre_call, regions: [usa]", "'regions' in litellm_params must be country codes"),
        (
            "guardrail: pii, mode: pre_call, action: mask",
            "'action' in litellm_params must be 'block', 'redact' or 'log'",
        ),
        (
            "guardrail: pii, mode: during_call, action: redact",
            "'action' in litellm_params cannot be redact: during_call starts when the vendor already has the text",
        ),
        (
            "guardrail: max_length, mode: pre_call, max_characters: 9, action: redact",
            "'action' in litellm_params cannot be redact: max_length does not report what to remove",
        ),
        ("guardrail: max_length, mode: pre_call", "'max_characters' is missing in litellm_params"),
        ("guardrail: max_length, mode: pre_call, max_characters: 0", "must be at least 1"),
        ("guardrail: blocked_words, mode: pre_call", "'words' and 'patterns' must not both be empty"),
        (
            "guardrail: blocked_words, mode: pre_call, words: []",
            "'words' in litellm_params and 'patterns' must",
        ),
        ("guardrail: webhook, mode: pre_call", "'url' is missing in litellm_params"),
        ("guardrail: webhook, mode: pre_call, url: ftp://x", "must begin with http"),
        ("guardrail: webhook, mode: pre_call, url: http://x, on_failure: maybe", "must be 'block' or 'allow'"),
        ("guardrail: custom, mode: pre_call", "'class' is missing in litellm_params"),
        ("guardrail: pii, mode: pre_call, words: [a]", "unknown key 'words' in litellm_params"),
        ("guardrail: pii, mode: pre_call, entitys: [IP]", "did you mean 'entities'?"),
        ("guardrail: openai_moderation, mode: pre_call, thresholds: {hate: 2}", "must be at most 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(problems_of: Problems, params: str, problem: str) -> None:
    (line,) = problems_of(ENTRY + f"guardrails: [{{guardrail_name: g, litellm_params: {{{params}}}}}]")
    assert line.startswith("config.yaml:2: ")
    assert problem in line


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("guardrails: yes", "guardrails must be a list of entries"),
        ("guardrails: {a: b}", "guardrails must be a list of entries"),
        ("guardrails: [pii]", "an entry of guardrails must be a mapping"),
        ("guardrails: [{guardrail_name: a}]", "'litellm_params' is missing in an entry of guardrails"),
        ("guardrails: [{guardrail_name: a, litellm_params: 5}]", "'litellm_params' must be a mapping"),
        ("guardrails: [{litellm_params: {guardrail: pii, mode: pre_call}}]", "'guardrail_name' is missing"),
        (PII % "default_on: true" + "\n", ""),
        (
            "guardrails: [{guardrail_name: 'a b', litellm_params: {guardrail: pii, mode: pre_call}}]",
            "must be 1 to 128 printable ASCII characters without spaces and commas",
        ),
        (
            "guardrails: [{guardrail_name: a, default_on: true, litellm_params: {guardrail: pii, mode: pre_call, "
            "default_on: false}}]",
            "'default_on' is given twice",
        ),
        (
            "guardrails: [{guardrail_name: a, litelm_params: {}, litellm_params: {guardrail: pii, mode: pre_call}}]",
            "did you mean 'litellm_params'?",
        ),
        (
            "guardrails:\n- {guardrail_name: a, litellm_params: {guardrail: pii, mode: pre_call}}\n"
            "- {guardrail_name: a, litellm_params: {guardrail: pii, mode: post_call}}",
            "guardrail_name 'a' is given twice, first in config.yaml:3",
        ),
    ],
)
def test_what_is_wrong_with_an_entry(load_text: Load, problems_of: Problems, section: str, problem: str) -> None:
    if not problem:
        assert load_text(ENTRY + section).guardrails
        return
    (line,) = problems_of(ENTRY + section)
    assert problem in line


def test_what_litellm_shows_to_consumers_is_no_matter(load_text: Load) -> None:
    config = load_text(
        ENTRY + "guardrails: [{guardrail_name: a, guardrail_info: {params: []}, "
        "litellm_params: {guardrail: pii, mode: pre_call}}]"
    )
    assert "guardrail_info" in config.warnings[0]
