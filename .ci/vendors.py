"""Write docs/vendors.md from what the vendors' modules declare. A test fails where the file is stale.

Usage: python .ci/vendors.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.domain.requests import Mode
from proxy.matching.speech import MAX_CHARACTERS, SPEEDS, nearest_speed
from proxy.providers.base import Capabilities
from proxy.providers.registry import VENDORS
from proxy.providers.vendor import Vendor
from proxy.providers.voices import NAMES, Voices

PAGE = Path(__file__).resolve().parent.parent / "docs" / "vendors.md"
#: Voices of a model that are named one by one.
FEW_VOICES = 12
HEAD = """\
# Vendors

<!-- Written by `python .ci/vendors.py` from the declarations in proxy/providers. Do not edit. -->

**No vendor on this page was ever tried against its real service**; only the local engines were. All of it is written
from the vendors' published descriptions, documentation and packages, and tested against fakes that answer as those say.
The contract in `tests/providers` holds for every vendor, and each request that it makes is held against the vendor's
description of its API. If you have keys, `python bench/live_check.py MODEL…` tries the real thing and says what
differs; reports are welcome.

`model:` in the configuration is the prefix and one of the vendor's models, such as `deepgram/nova-3`. The key comes
from `api_key`, else from the variable named here; `api_base` replaces the vendor's address. A running proxy tells what
each of its models can do: `GET /v1/models/{id}`, and which voices it has: `GET /v1/audio/voices?model=`.

What holds everywhere, and is not repeated below:

- **Speech** comes in OpenAI's six formats, as a stream; what a vendor does not make itself is converted on the way. All
  13 voices of OpenAI's are taken, and spoken by voices of the vendor's, as the tables say. Speeds from 0.25 to 4 are
  taken; what the vendor lacks of them is made by stretching. `stream_format=sse` works.
- **Transcripts** come in each format that the vendor knows enough for; any other is a clear 400. `stream=true` always
  works: where the vendor does not stream, all of the text comes as one event. Languages are taken by code and by name.
- What has no effect on a vendor is left out, and `x-proxy-warnings` says so. A field that is not OpenAI's goes on only
  if it stands under *extras*.
"""


def page() -> str:
    vendors = list(VENDORS.values())
    return "\n".join([HEAD, *_overview(vendors), "", *(line for vendor in vendors for line in _section(vendor))])


def _overview(vendors: list[Vendor]) -> Iterator[str]:
    yield "| prefix | key | speech | transcription | translation | voices, live |"
    yield "|---|---|---|---|---|---|"
    for vendor in vendors:
        modes = {mode for can in _declarations(vendor).values() for mode in can.modes} or set(Mode)
        does = [_yes(mode in modes) for mode in (Mode.SPEECH, Mode.TRANSCRIPTION, Mode.TRANSLATION)]
        keys = ", ".join(map(_code, vendor.key_variables)) or "none"
        cells = (f"[`{vendor.name}/`](#{_anchor(vendor)})", keys, *does, _yes(_lists_voices(vendor)))
        yield f"| {' | '.join(cells)} |"


def _section(vendor: Vendor) -> Iterator[str]:
    yield f"## {vendor.name}"
    yield ""
    yield _address(vendor)
    yield ""
    if not _declarations(vendor):
        yield "Its server decides what it can do."
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
            "Address: `api_base`." if vendor.adapter is not VENDORS["local"].adapter else "In the proxy's own process."
        )
    other = (
        " Nothing is declared of a server at another `api_base`: it decides itself." if vendor.others_speak_it else ""
    )
    return where + other


def _speech(models: Mapping[str, Capabilities]) -> Iterator[str]:
    yield "| speech | made by the vendor | speed | characters | instructions | extras | ends |"
    yield "|---|---|---|---|---|---|---|"
    for names, can in models.items():
        formats = "as the server says" if can.formats is None else ", ".join(can.formats)
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
    yield "| transcription | response formats | streams | file | languages | has no effect | extras | ends |"
    yield "|---|---|---|---|---|---|---|---|"
    for names, can in models.items():
        formats = "as the server says" if can.response_formats is None else ", ".join(can.response_formats)
        limits = [
            f"{can.max_file_mb:g} MB" if can.max_file_mb else "",
            f"{can.max_seconds:g} s" if can.max_seconds else "",
        ]
        languages = (
            ", ".join(can.languages)
            if can.languages and len(can.languages) <= 10
            else str(len(can.languages or "") or "")
        )
        ignored = ", ".join(map(_code, sorted(can.ignores)))
        cells = (
            names + (" (also translates)" if Mode.TRANSLATION in can.modes else ""), formats, _yes(can.streams),
            ", ".join(filter(None, limits)), languages, ignored, _extras(can), can.shutdown_date or "",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _voices(models: Mapping[str, Capabilities]) -> Iterator[str]:
    """Models that have the same voices share a paragraph."""
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
    pattern = ", and any that looks like one of its ids" if voices.pattern is not None else ""
    yield f"Voices of {names}: {len(voices.catalogue)}{pattern}{listed}."
    mapped = {name: voices.find(name) for name in NAMES}
    if any(name != found for name, found in mapped.items()):
        yield ""
        yield f"OpenAI's names: {', '.join(f'{name} → {_code(str(found))}' for name, found in mapped.items())}."


def _declarations(vendor: Vendor) -> dict[str, Capabilities]:
    """By the model's name, and what holds of any other model."""
    others = {f"any other ({mode.removeprefix('audio_')})": can for mode, can in vendor.others.items()}
    return {**{_code(name): can for name, can in vendor.models.items()}, **others}


def _alike(models: Mapping[str, Capabilities]) -> dict[str, Capabilities]:
    """Models of which the same is declared share a row."""
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
        return "as the server says"
    if nearest_speed(SPEEDS[0], can.speed)[1] == nearest_speed(SPEEDS[1], can.speed)[1] == 1:
        return f"{SPEEDS[0]:g} to {SPEEDS[1]:g}"
    return "stretched" if can.speed[0] == can.speed[1] else f"{can.speed[0]:g} to {can.speed[1]:g}, else stretched"


def _characters(can: Capabilities) -> str:
    if can.max_characters is None:
        return ""
    return (
        f"{can.max_characters}, longer ones in pieces up to {MAX_CHARACTERS}" if can.splits else str(can.max_characters)
    )


def _instructions(can: Capabilities) -> str:
    if "instructions" in can.ignores:
        return "no effect"
    return f"up to {can.max_instructions}" if can.max_instructions else "yes"


def _extras(can: Capabilities) -> str:
    return "any" if can.extras is None else ", ".join(map(_code, sorted(can.extras)))


def _lists_voices(vendor: Vendor) -> bool:
    return hasattr(vendor.adapter, "voices")


def _anchor(vendor: Vendor) -> str:
    """As GitHub makes it of a heading."""
    return vendor.name.replace("/", "")


def _yes(is_so: bool) -> str:
    return "yes" if is_so else ""


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
