"""The lists of voices: what is in them, and how often a vendor is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

from proxy.attempts import ListedVoice, VoiceLists
from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.errors import UpstreamTimeout
from proxy.matching import BoundDeployment
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.voices import NAMES, Voice, Voices

ANNA, BEN, CLARA = Voice("anna", "Anna", "de", "female"), Voice("ben", "Ben", "en", "male"), Voice("clara-clone")
KNOWN = Voices(catalogue=(ANNA, BEN), openai={"alloy": "anna", "onyx": "ben"})


class Vendor:
    def __init__(self, voices: Voices | None) -> None:
        self.capabilities = Capabilities(modes=frozenset({Mode.SPEECH}), voices=voices)


class Lists:
    """What vendors tell, and how often they were asked; ``now`` is the time."""

    def __init__(self, answer: Sequence[Voice] | Exception | None) -> None:
        self.answer, self.asked, self.now = answer, 0, 0.0
        self.lists = VoiceLists(self._fetch, clock=lambda: self.now)

    async def _fetch(self, line: BoundDeployment) -> Sequence[Voice] | None:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def of(self, *lines: BoundDeployment) -> list[str]:
        return [named.voice.id for named in await self.lists.of(lines)]


def line(known: Voices | None = KNOWN, **settings: Any) -> BoundDeployment:
    fields = {"id": "one", "group": "tts", "vendor": "acme", "model": "m"} | settings
    return BoundDeployment(Deployment(**fields), cast(Adapter, Vendor(known)))


def test_openais_names_come_first_then_the_operators_then_the_vendors() -> None:
    lists = Lists([ANNA, BEN])
    found = asyncio.run(lists.of(line(voices={"narrator": "ben", "nova": "anna"}, voice="anna")))
    assert found == ["alloy", "nova", "onyx", "narrator", "anna", "ben"]


def test_a_name_has_what_is_known_of_the_voice_behind_it() -> None:
    found = asyncio.run(Lists([ANNA]).lists.of([line(voices={"narrator": "ben"})]))
    by_id = {named.voice.id: named for named in found}
    assert by_id["alloy"] == ListedVoice(Voice("alloy", "Alloy", "de", "female"), "acme", ("tts",))
    assert by_id["narrator"] == ListedVoice(Voice("narrator", "narrator", "en", "male"), "acme", ("tts",))
    assert by_id["anna"].voice == ANNA


def test_a_voice_names_each_group_that_has_it_once() -> None:
    lines = [line(id="1"), line(id="2", group="other"), line(id="3"), line(Voices((BEN,)), id="4", group="third")]
    groups = {named.voice.id: named.groups for named in asyncio.run(Lists(None).lists.of(lines))}
    assert groups["anna"] == ("tts", "other")
    assert groups["ben"] == ("tts", "other", "third")


def test_a_voice_that_callers_may_not_use_is_not_listed() -> None:
    listed = [ANNA, CLARA]
    assert "clara-clone" not in asyncio.run(Lists(listed).of(line()))
    assert "clara-clone" in asyncio.run(Lists(listed).of(line(allow_any_voice=True)))
    pattern = Voices(catalogue=(), pattern=re.compile("[a-z-]+"))
    assert "clara-clone" in asyncio.run(Lists(listed).of(line(pattern)))
    assert "clara-clone" in asyncio.run(Lists(listed).of(line(None)))


def test_a_server_of_which_nothing_is_known_is_thought_to_know_openais_names() -> None:
    assert asyncio.run(Lists(None).of(line(None))) == list(NAMES)


def test_a_list_is_asked_for_once_in_ten_minutes_and_once_for_all_who_ask() -> None:
    lists = Lists([ANNA])

    async def test() -> None:
        await asyncio.gather(*(lists.of(line()) for _ in range(5)))
        assert lists.asked == 1
        lists.now = 599
        await lists.of(line())
        assert lists.asked == 1
        await lists.of(line(id="other"))
        assert lists.asked == 2
        lists.now = 601
        await lists.of(line())
        assert lists.asked == 3

    asyncio.run(test())


def test_where_the_vendor_fails_its_known_voices_are_listed() -> None:
    lists = Lists(UpstreamTimeout("late"))

    async def test() -> None:
        assert await lists.of(line()) == ["alloy", "onyx", "anna", "ben"]
        lists.now = 59
        await lists.of(line())
        assert lists.asked == 1
        lists.now, lists.answer = 61, [BEN]
        assert await lists.of(line()) == ["alloy", "onyx", "ben"]

    asyncio.run(test())


def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    lists = Lists([BEN])

    async def test() -> None:
        first = asyncio.ensure_future(lists.of(line()))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(lists.of(line()))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == ["alloy", "onyx", "ben"]
        assert lists.asked == 1

    asyncio.run(test())
