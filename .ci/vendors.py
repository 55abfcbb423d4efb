"""Writes docs/vendors.md from the declarations in the vendors' modules. A test fails if the file is stale.

Usage: python .ci/vendors.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.audio.labels import CONTAINERS, extensions_of
from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.matching.speech import MAX_CHARACTERS, SPEEDS, nearest_speed
from proxy.providers.base import Capabilities
from proxy.providers.registry import VENDORS
from proxy.providers.vendor import Vendor
from proxy.providers.voices import NAMES, Voices

PAGE = Path(__file__).resolve().parent.parent / "docs" / "vendors.md"
#: A model's own voices are listed if there are at most this many.
FEW_VOICES = 12
HEAD = """\
# Vendors

<!-- Written by `python .ci/vendors.py` from the declarations in proxy/providers. Do not edit. -->

**No vendor on this page has been tested against its real service**; only the local engines have. The adapters are
written from the vendors' published API descriptions, documentation and packages, and tested against fakes that behave
as described there. The contract suite in `tests/providers` runs for every vendor, and every request is checked against
the vendor's API description. If you have keys, `python bench/live_check.py MODEL…` tries the real service and reports
what differs; reports are welcome.

In the configuration, `model:` is a prefix and one of the vendor's models, such as `deepgram/nova-3`. The key is
`api_key`, else the variable listed here; `api_base` replaces the vendor's address. A running proxy lists each model's
capabilities at `GET /v1/models/{id}` and its voices at `GET /v1/audio/voices?model=`.

A misspelt prefix is an error that names the nearest one. At an `api_base` of your own, names such as `org/model` are
models of that server. If such a name begins almost like a vendor's, write `openai/` in front of it.

For every vendor:

- **Speech** is streamed in OpenAI's six formats; formats that the vendor does not support are converted. OpenAI's 13
  voices are accepted and mapped to the vendor's voices as listed; so is every public voice of a vendor that lists its
  voices. Speeds from 0.25 to 4 are accepted; speeds that the vendor does not support are made by time-stretching.
  `stream_format=sse` is supported. An input without words, such as `…`, is answered with silence if the vendor rejects
  it.
- **Transcripts** are available in every format for which the vendor returns enough; other formats are refused with 400.
  `stream=true` is always supported: if the vendor does not stream, the whole text is one event. Languages are accepted
  by code and by name.
- **Files** are sent under the name and content type that their bytes show, unless those of the caller are true. Formats
  that the vendor does not take, as listed under *file formats*, are refused with 400.
- Fields without effect are left out and reported in `x-proxy-warnings`. Non-OpenAI fields are forwarded only if they
  are listed under *extras*.
"""


def page() -> str:
    vendors = list(VENDORS.values())
    return "\n".join([HEAD, *_overview(vendors), "", *(line for vendor in vendors for line in _section(vendor))])


def _overview(vendors: list[Vendor]) -> Iterator[str]:
    yield "| prefix | key | speech | transcription | translation | lists its voices |"
    yield "|---|---|---|---|---|---|"
    for vendor in vendors:
        modes = {mode for can in _declarations(vendor).values() for mode in can.modes} or set(Mode)
        cells = [_yes(mode in modes) for mode in (Mode.SPEECH, Mode.TRANSCRIPTION, Mode.TRANSLATION)]
        keys = ", ".join(map(_code, vendor.key_variables)) or "none"
        row = (f"[`{vendor.name}/`](#{_anchor(vendor)})", keys, *cells, _yes(_lists_voices(vendor)))
        yield f"| {' | '.join(row)} |"


def _section(vendor: Vendor) -> Iterator[str]:
    yield f"## {vendor.name}"
    yield ""
    yield _address(vendor)
    yield ""
    if not _declarations(vendor):
        yield "Capabilities depend on the server."
        yield ""
    by_mode = {Mode.SPEECH: _speech, Mode.TRANSCRIPTION: _transcription}
    for mode, table in by_mode.items():
        found = {name: can for name, can in _declarations(vendor).items() if _is_of(can, mode)}
        if found:
            yield from table(_alike(found))
            yield ""


def _address(vendor: Vendor) -> str:
    if vendor.base_url is not None:
        where = f"Address: `{vendor.base_url}`."
    elif vendor.base_variable is not None:
        where = f"Address: `api_base`, else `{vendor.base_variable}`."
    else:
        where = (
            "Address: `api_base`."
            if vendor.adapter is not VENDORS["local"].adapter
            else "Runs on the proxy's machine, in worker processes."
        )
    other = " The capabilities of servers at another `api_base` are unknown." if vendor.has_compatible_servers else ""
    return where + other


def _speech(models: Mapping[str, Capabilities]) -> Iterator[str]:
    yield "| speech | native formats | speed | characters | instructions | extras | shutdown |"
    yield "|---|---|---|---|---|---|---|"
    for names, can in models.items():
        formats = "depends on the server" if can.formats is None else ", ".join(can.formats)
        cells = (
            names,
            formats,
            _speed(can),
            _characters(can),
            _instructions(can),
            _extras(can),
            can.shutdown_date or "",
        )
        yield f"| {' | '.join(cells)} |"
    yield from _voices(models)


def _transcription(models: Mapping[str, Capabilities]) -> Iterator[str]:
    columns = (
        "transcription", "response formats", "streams", "file", "file formats", "languages", "without effect", "extras",
        "shutdown",
    )  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for names, can in models.items():
        formats = "depends on the server" if can.response_formats is None else ", ".join(can.response_formats)
        limits = [
            f"{can.max_file_mb:g} MB" if can.max_file_mb else "",
            f"{can.max_seconds:g} s" if can.max_seconds else "",
        ]
        codes = can.languages.all if can.languages is not None else None
        languages = ", ".join(codes) if codes and len(codes) <= 10 else str(len(codes or ()) or "")
        ignored = ", ".join(map(_code, sorted(can.ignores)))
        cells = (
            names + (" (also translates)" if Mode.TRANSLATION in can.modes else ""), formats, _yes(can.streams),
            ", ".join(filter(None, limits)), _files(can), languages, ignored, _extras(can), can.shutdown_date or "",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _files(can: Capabilities) -> str:
    if can.containers is None:
        return "not declared"
    return "all with a header" if set(can.containers) == set(CONTAINERS) else ", ".join(extensions_of(can.containers))


def _voices(models: Mapping[str, Capabilities]) -> Iterator[str]:
    """Models with the same voices share a paragraph."""
    known: list[tuple[list[str], Voices]] = []
    for name, can in models.items():
        same = next((names for names, voices in known if voices == can.voices), None)
        if same is not None:
            same.append(name)
        elif can.voices is not None:
            known.append(([name], can.voices))
    for names, voices in known:
        if voices.catalogue:
            yield ""
            yield from _catalogue(", ".join(names), voices)


def _catalogue(names: str, voices: Voices) -> Iterator[str]:
    own = [voice.id for voice in voices.catalogue if voice.id not in NAMES]
    listed = f": {', '.join(map(_code, own))}" if own and len(own) <= FEW_VOICES else ""
    pattern = ", and any other with an id of the same form" if voices.pattern is not None else ""
    yield f"Voices of {names}: {len(voices.catalogue)}{pattern}{listed}."
    mapped = {name: voices.find(name) for name in NAMES}
    if any(name != found for name, found in mapped.items()):
        yield ""
        yield f"OpenAI's names: {', '.join(f'{name} → {_code(str(found))}' for name, found in mapped.items())}."


def _declarations(vendor: Vendor) -> dict[str, Capabilities]:
    """The capabilities by the model's name, and those of any other model."""
    others = {f"any other ({mode.removeprefix('audio_')})": can for mode, can in vendor.others.items()}
    return {**{_code(name): can for name, can in vendor.models.items()}, **others}


def _alike(models: Mapping[str, Capabilities]) -> dict[str, Capabilities]:
    """Models with the same capabilities share a row."""
    rows: list[tuple[list[str], Capabilities]] = []
    for name, can in models.items():
        row = next((names for names, known in rows if known == can), None)
        if row is None:
            rows.append(([name], can))
        else:
            row.append(name)
    return {", ".join(names): can for names, can in rows}


def _is_of(can: Capabilities, mode: Mode) -> bool:
    return mode in can.modes or (mode == Mode.TRANSCRIPTION and Mode.TRANSLATION in can.modes)


def _speed(can: Capabilities) -> str:
    if can.speed is None:
        return "depends on the server"
    if nearest_speed(SPEEDS[0], can.speed)[1] == nearest_speed(SPEEDS[1], can.speed)[1] == 1:
        return f"{SPEEDS[0]:g} to {SPEEDS[1]:g}"
    return "stretched" if can.speed[0] == can.speed[1] else f"{can.speed[0]:g} to {can.speed[1]:g}, others stretched"


def _characters(can: Capabilities) -> str:
    if can.max_characters is None:
        return ""
    return f"{can.max_characters}; up to {MAX_CHARACTERS} in pieces" if can.splits else str(can.max_characters)


def _instructions(can: Capabilities) -> str:
    if "instructions" in can.ignores:
        return "no effect"
    return f"up to {can.max_instructions}" if can.max_instructions else "yes"


def _extras(can: Capabilities) -> str:
    return "any" if can.extras is None else ", ".join(map(_code, sorted(can.extras)))


def _lists_voices(vendor: Vendor) -> bool:
    """Whether an adapter of any of its speech models lists voices."""
    models = [name for name, can in vendor.models.items() if Mode.SPEECH in can.modes] or ["other"]
    base = None if vendor.base_url else "http://localhost"
    deployments = (
        Deployment(id=name, group="page", vendor=vendor.name, model=name, mode=Mode.SPEECH, api_base=base)
        for name in models
    )
    return any(vendor.bind(deployment, {}).voices() is not None for deployment in deployments)


def _anchor(vendor: Vendor) -> str:
    """The anchor that GitHub generates for the heading."""
    return vendor.name.replace("/", "")


def _yes(is_so: bool) -> str:
    return "yes" if is_so else ""


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
