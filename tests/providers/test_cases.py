"""The cases themselves: none is missing, and what holds requests against a spec does so."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from proxy.providers.registry import VENDORS
from tests.fakes.upstream import Recorded
from tests.providers.contract import Exchange, Reply, every_case
from tests.providers.spec import SPECS, Spec

#: Their speech and transcripts are made in this process: `tests/front/test_local.py`.
WITHOUT_CASES = {"local"}


def test_every_file_of_cases_can_be_read() -> None:
    assert not every_case().broken


def test_every_vendor_has_a_case_for_each_of_its_modes() -> None:
    seen = {(_vendor(case.model), case.mode) for case in every_case().cases}
    due = {
        (name, mode.value)
        for name, vendor in VENDORS.items()
        for declared in vendor.models.values()
        for mode in declared.modes
        if name not in WITHOUT_CASES and mode != "audio_translation"
    }
    assert not due - seen


def _vendor(model: str) -> str:
    return max((name for name in VENDORS if model.startswith(f"{name}/")), key=len)


def test_ids_are_unique() -> None:
    assert not [name for name, count in Counter(case.id for case in every_case().cases).items() if count > 1]


def test_specs_are_small() -> None:
    assert not [path.name for path in SPECS.iterdir() if path.stat().st_size > 40_000]


# -- what holds requests against a spec --------------------------------------------------------------------------------

_VOICE = {"type": "object", "properties": {"id": {"type": "string"}}}
_BODY = {
    "properties": {"text": {"type": "string"}, "voice": {"$ref": "#/components/schemas/Voice"}},
    "required": ["text"],
}
_PATHS = {
    "/v1/speak/{voice}": {
        "post": {
            "parameters": [
                {"in": "query", "name": "rate", "schema": {"type": "integer"}},
                {"in": "query", "name": "key", "required": True, "schema": {"type": "string"}},
            ],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object", **_BODY}}}},
        }
    }
}
_SPEC = Spec({"paths": _PATHS, "components": {"schemas": {"Voice": _VOICE}}})


def _complaints(target: str, body: object, content_type: str = "application/json") -> list[str]:
    raw = json.dumps(body).encode()
    headers = [("content-type", content_type)]
    return _SPEC.complaints(Recorded(0, "POST", target, headers, len(raw), body=raw, json=body))


def test_a_good_request_is_let_through() -> None:
    assert not _complaints("/v1/speak/a?rate=8000&key=k", {"text": "a", "voice": {"id": "b"}})


@pytest.mark.parametrize(
    ("target", "body", "said"),
    [
        ("/v1/speak/a?key=k", {"txt": "a"}, "'text' is a required property"),
        ("/v1/speak/a?key=k", {"text": "a", "speed": 1}, "'speed' was unexpected"),
        ("/v1/speak/a?key=k", {"text": "a", "voice": {"name": "b"}}, "'name' was unexpected"),
        ("/v1/speak/a?key=k", {"text": 5}, "5 is not of type 'string'"),
        ("/v1/speak/a", {"text": "a"}, "'key' is missing"),
        ("/v1/speak/a?key=k&rat=1", {"text": "a"}, "'rat' is not declared"),
        ("/v1/speak/a?key=k&rate=fast", {"text": "a"}, "query rate"),
        ("/v1/speak/a/b?key=k", {"text": "a"}, "is not in the spec"),
    ],
)
def test_a_request_that_breaks_the_spec_is_not(target: str, body: object, said: str) -> None:
    assert said in "; ".join(_complaints(target, body))


def test_another_content_type_is_a_complaint() -> None:
    assert "content-type" in _complaints("/v1/speak/a?key=k", {"text": "a"}, "text/plain")[0]


def test_an_exchange_fits_the_whole_path_only() -> None:
    exchange = Exchange("POST", r"/v1/speak/[^/]+", Reply())
    assert exchange.fits(Recorded(0, "POST", "/v1/speak/a%2Fb?x=1"))
    assert not exchange.fits(Recorded(0, "POST", "/v1/speak/a/b"))
    assert not exchange.fits(Recorded(0, "POST", "/v1/speak/../voices/add"))
    assert not exchange.fits(Recorded(0, "GET", "/v1/speak/a"))
