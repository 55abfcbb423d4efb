"""Form values as clients spell them: arrays, booleans, numbers, languages, and a file that is none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.wire import FORM, file_part, form, text_part

PATH = "/v1/audio/transcriptions"
WAV = wav()
FILE = {"file": ("speech.wav", WAV)}
#: A server that takes every field.
OWN = {"model": "selfhosted-stt"}


def fields_sent(upstream: Upstream, http: httpx.Client, fields: dict[str, Any]) -> dict[str, list[str]]:
    reply = http.post(PATH, data=OWN | fields, files=FILE)
    assert reply.status_code == 200, reply.text
    return upstream.last.fields


@pytest.mark.parametrize(
    "written",
    [
        {"timestamp_granularities": ["word", "segment"]}, {"timestamp_granularities[]": ["word", "segment"]},
        {"timestamp_granularities[0]": "word", "timestamp_granularities[1]": "segment"},
        {"timestamp_granularities": '["word", "segment"]'}, {"timestamp_granularities[]": '["word","segment"]'},
        {"timestamp_granularities": "word,segment"}, {"timestamp_granularities[]": " Word , SEGMENT ,"},
        {"timestamp_granularities": ["", "word", "", "segment", "word"]},
        {"timestamp_granularities": "['word', 'segment']"}, {"timestamp_granularities": "[word, segment]"},
        {"timestamp_granularities": ['"word"', "segment"]}, {"timestamp_granularities": '["word", null, "segment"]'},
        {"timestamp_granularities.0": "word", "timestamp_granularities.1": "segment"},
        {"timestamp_granularities[][]": ["word", "segment"]}, {"timestamp_granularities%5B%5D": ["word", "segment"]},
        {"timestamp_granularities": ["null", "word", "undefined", "segment", "None"]},
    ],
)  # fmt: skip
def test_an_enumeration_in_every_spelling(upstream: Upstream, http: httpx.Client, written: dict[str, Any]) -> None:
    sent = fields_sent(upstream, http, written | {"response_format": "verbose_json"})
    assert sent["timestamp_granularities[]"] == ["word", "segment"]


@pytest.mark.parametrize("name", ["include", "languages", "keywords", "known_speaker_names"])
@pytest.mark.parametrize(
    ("suffix", "written"),
    [("", ["a", "b"]), ("[]", ["a", "b"]), ("[0]", ["a", "b"]), ("", '["a","b"]'), ("[]", ["", "a", " b ", "  "])],
)
def test_arrays_in_every_spelling(upstream: Upstream, http: httpx.Client, name: str, suffix: str, written: Any) -> None:
    sent = fields_sent(upstream, http, {name + suffix: written})
    assert sent[f"{name}[]"] == ["a", "b"]


@pytest.mark.parametrize("name", ["include", "languages"])
def test_only_enumerations_are_split_at_commas(upstream: Upstream, http: httpx.Client, name: str) -> None:
    sent = fields_sent(upstream, http, {name: "a, b", "keywords": "Paris, Texas", "known_speaker_names[]": "Doe, Jo"})
    assert (sent[f"{name}[]"], sent["keywords[]"]) == (["a", "b"], ["Paris, Texas"])
    assert sent["known_speaker_names[]"] == ["Doe, Jo"]


@pytest.mark.parametrize("written", ["[", "[1, 2]", "[Paris", '{"a": 1}'])
def test_a_keyword_that_looks_like_an_array_stays_one(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert fields_sent(upstream, http, {"keywords": written})["keywords[]"] == [written]


@pytest.mark.parametrize(
    "name", ["timestamp_granularities[]", "include[]", "languages", "keywords[0]", "language", "prompt", "temperature",
             "response_format", "stream", "chunking_strategy"],
)  # fmt: skip
def test_empty_values_are_no_values(upstream: Upstream, http: httpx.Client, name: str) -> None:
    assert sorted(fields_sent(upstream, http, {name: ""})) == ["model", "response_format"]


@pytest.mark.parametrize(("name", "written"), [("include", "a," * 2000), ("keywords", '["a"' + ',"b"' * 2000 + "]")])
def test_the_number_of_items_is_bounded(upstream: Upstream, http: httpx.Client, name: str, written: str) -> None:
    error_of(http.post(PATH, data=OWN | {name: written}, files=FILE), 413)
    assert upstream.requests == []
    assert fields_sent(upstream, http, {"keywords": "a," * 2000})["keywords[]"] == ["a," * 2000]


@pytest.mark.parametrize("written", ["null", "undefined", "None", "[]", "[null]"])
@pytest.mark.parametrize("name", ["timestamp_granularities", "include[]", "languages"])
def test_an_array_that_is_missing(upstream: Upstream, http: httpx.Client, name: str, written: str) -> None:
    assert sorted(fields_sent(upstream, http, {name: written})) == ["model", "response_format"]


@pytest.mark.parametrize("written", ["null", "undefined"])
def test_a_prompt_that_is_missing(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert "prompt" not in fields_sent(upstream, http, {"prompt": written})
    assert fields_sent(upstream, http, {"prompt": f" {written}s "})["prompt"] == [f" {written}s "]


def test_a_list_where_one_value_is_due(upstream: Upstream, http: httpx.Client) -> None:
    sent = fields_sent(upstream, http, {"language[]": ["en", "de"], "temperature[]": ["0", "0.2"]})
    assert (sent["language"], sent["temperature"]) == (["en"], ["0.0"])


@pytest.mark.parametrize("written", ["true", "True", "TRUE", "1", "on", "yes", " true "])
def test_true_as_clients_write_it(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert fields_sent(upstream, http, {"stream": written})["stream"] == ["true"]


@pytest.mark.parametrize("written", ["false", "False", "0", "off", "no", "null", "None", "undefined"])
def test_false_as_clients_write_it(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert "stream" not in fields_sent(upstream, http, {"stream": written})


@pytest.mark.parametrize(("written", "sent"), [("0", "0.0"), ("0,5", "0.5"), (" .5 ", "0.5"), ("1e-1", "0.1")])
def test_numbers_as_clients_write_them(upstream: Upstream, http: httpx.Client, written: str, sent: str) -> None:
    assert fields_sent(upstream, http, {"temperature": written})["temperature"] == [sent]


@pytest.mark.parametrize("written", ["null", "undefined", "None"])
def test_a_number_that_is_missing(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert "temperature" not in fields_sent(upstream, http, {"temperature": written})


@pytest.mark.parametrize(
    ("name", "written"), [("stream", "maybe"), ("temperature", "1,000,000"), ("temperature", "warm"), ("stream", "2")]
)
def test_what_has_no_certain_meaning_is_refused(http: httpx.Client, name: str, written: str) -> None:
    assert error_of(http.post(PATH, data=OWN | {name: written}, files=FILE), 400)["param"] == name


@pytest.mark.parametrize("written", ["VERBOSE_JSON", " verbose_json"])
def test_a_format_in_any_case(upstream: Upstream, http: httpx.Client, written: str) -> None:
    assert fields_sent(upstream, http, {"response_format": written})["response_format"] == ["verbose_json"]


@pytest.mark.parametrize(
    ("model", "written", "sent"),
    [
        ("whisper", "pt-BR", ["pt"]), ("whisper", "auto", None), ("whisper", "", None), ("whisper", "English", ["en"]),
        ("whisper", "cmn", ["zh"]), ("whisper", "zh-TW", ["zh-tw"]), ("selfhosted-stt", "zh-Hant", ["zh-Hant"]),
        ("selfhosted-stt", "auto", None),
    ],
)  # fmt: skip
def test_languages(upstream: Upstream, http: httpx.Client, model: str, written: str, sent: list[str] | None) -> None:
    assert http.post(PATH, data={"model": model, "language": written}, files=FILE).status_code == 200
    assert upstream.last.fields.get("language") == sent


def test_a_language_that_is_none_is_refused_before_the_call(upstream: Upstream, http: httpx.Client) -> None:
    error = error_of(http.post(PATH, data={"model": "whisper", "language": "klingon"}, files=FILE), 400)
    assert (error["param"], "for example 'en'" in error["message"]) == ("language", True)
    fields = {"model": "gpt-transcribe", "languages[]": ["de", "klingon"]}
    assert error_of(http.post(PATH, data=fields, files=FILE), 400)["param"] == "languages"
    assert upstream.requests == []


def test_half_a_surrogate_pair_is_replaced(upstream: Upstream, http: httpx.Client) -> None:
    prompt = ('Content-Disposition: form-data; name="prompt"', b"Cut \xed\xa0\xbd, \xed\xa0\xbd\xed\xb8\x80")
    reply = http.post(PATH, content=form(text_part("model", "whisper"), prompt, file_part(WAV)), headers=FORM)
    assert reply.status_code == 200, reply.text
    assert upstream.last.fields["prompt"] == ["Cut \ufffd, \U0001f600"]


# -- a file that is none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audio", "File", "files", "file[]", "file[0]", "audio_file", "upload", "data"])
@pytest.mark.parametrize("with_file", [False, True])
def test_a_file_in_another_field_is_refused_with_the_right_one(
    upstream: Upstream, http: httpx.Client, name: str, with_file: bool
) -> None:
    files = {name: ("speech.wav", WAV, "audio/wav")} | (FILE if with_file else {})
    error = error_of(http.post(PATH, data={"model": "whisper"}, files=files), 400)
    assert error["param"] == "file"
    assert f"a file in the field '{name}'; it must be in the field 'file'" in error["message"]
    assert upstream.requests == []


def test_a_file_in_another_field_without_a_name(http: httpx.Client) -> None:
    part = ('Content-Disposition: form-data; name="audio"\r\nContent-Type: audio/wav', WAV)
    error = error_of(http.post(PATH, content=form(text_part("model", "whisper"), part), headers=FORM), 400)
    assert "must be in the field 'file'" in error["message"]


@pytest.mark.parametrize("name", ["model", "language", "timestamp_granularities[]"])
def test_a_text_that_is_sent_as_a_file_is_a_text(upstream: Upstream, http: httpx.Client, name: str) -> None:
    value = {"model": "whisper", "language": "de", "timestamp_granularities[]": "word"}[name]
    head = f'Content-Disposition: form-data; name="{name}"; filename="blob"\r\nContent-Type: application/octet-stream'
    parts = [(head, value.encode()), *([] if name == "model" else [text_part("model", "whisper")]), file_part(WAV)]
    assert http.post(PATH, content=form(*parts), headers=FORM).status_code == 200


@pytest.mark.parametrize(
    "text", ["speech.wav", "/home/ada/größe.mp3", "https://example.org/a.mp3", "", "data:audio/wav;base64,UklGRg==",
             "[object Object]", "é" * 300, "UklGR" * 1000],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["", "\r\nContent-Type: text/plain; charset=utf-8"])
def test_a_text_instead_of_the_file_is_refused(upstream: Upstream, http: httpx.Client, text: str, kind: str) -> None:
    parts = [text_part("model", "whisper"), (f'Content-Disposition: form-data; name="file"{kind}', text.encode())]
    for ordered in (parts, parts[::-1]):
        error = error_of(http.post(PATH, content=form(*ordered), headers=FORM), 400)
        assert (error["param"], "must be a file" in error["message"]) == ("file", True)
    assert upstream.requests == []


def test_a_file_without_name_and_type_is_a_file(upstream: Upstream, http: httpx.Client) -> None:
    parts = [text_part("model", "whisper"), ('Content-Disposition: form-data; name="file"', WAV)]
    assert http.post(PATH, content=form(*parts), headers=FORM).status_code == 200
    assert upstream.last.file.size == len(WAV)


def test_several_files_are_refused(http: httpx.Client) -> None:
    body = form(text_part("model", "whisper"), file_part(WAV), file_part(WAV))
    assert "more than one file" in error_of(http.post(PATH, content=body, headers=FORM), 400)["message"]
