"""Three vendors that do everything wrong, at random, under many callers at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.conftest import MASTER_KEY, NOWHERE, Server
from tests.fakes.answers import ERRORS
from tests.fakes.upstream import KEY, Behaviour, Recorded, Upstream, stream

SEED = 20_264
CALLS, CALLERS = 400, 200
VENDORS = ("north", "east", "west")
#: What a vendor does to a call, and how often.
FATES = {
    "well": 50, "429": 10, "500": 10, "refuses": 8, "dies before": 8, "dies after headers": 6, "hangs": 4,
    "dies after": 3, "stalls after": 1,
}  # fmt: skip
#: Those in which audio leaves before things go wrong.
CUT = {"dies after", "stalls after"}
CHUNKS = 6
PATIENCE = 4


def fate(vendor: str, call: str) -> str:
    chance = random.Random(f"{SEED}/{vendor}/{call}")
    return chance.choices(list(FATES), weights=list(FATES.values()))[0]


def audio(vendor: str, call: str) -> list[bytes]:
    """Different for each vendor and call, and long enough that halves of two would be told apart."""
    return [b"\xff\xf3D\xc4" + f"{vendor}/{call}/{number};".encode() * 20 for number in range(CHUNKS)]


class Vendor(Upstream):
    """Treats each call by its fate, which is the same whenever that call comes back."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def behaviour(self, request: Recorded) -> Behaviour:
        if request.json is None:  # its head only
            return Behaviour()
        call = request.json["input"]
        spoken = stream(*audio(self.name, call))
        return {
            "well": Behaviour(spoken),
            "429": Behaviour(ERRORS[429]),
            "500": Behaviour(ERRORS[500]),
            "refuses": Behaviour(spoken, stop_after=-1, stop="reset"),
            "dies before": Behaviour(spoken, stop_after=-1),
            "dies after headers": Behaviour(spoken, stop_after=0),
            "hangs": Behaviour(spoken, stop_after=-1, stop="hang"),
            "dies after": Behaviour(spoken, stop_after=2),
            "stalls after": Behaviour(spoken, stop_after=2, stop="hang"),
        }[fate(self.name, call)]


def config(vendors: list[Vendor]) -> dict[str, Any]:
    places = {vendor.name: vendor.url for vendor in vendors} | {"nobody": NOWHERE}
    limits = {"stream_timeout": PATIENCE, "stall_timeout": PATIENCE, "timeout": 60}
    return {
        "model_list": [
            {
                "model_name": "tts",
                "litellm_params": {"model": f"openai/{name}", "api_key": KEY, "api_base": url, **limits},
                "model_info": {"mode": "audio_speech", "id": name},
            }
            for name, url in places.items()
        ],
        "router_settings": {"num_retries": len(places) - 1},
        "general_settings": {"master_key": MASTER_KEY, "log_level": "error"},
    }


async def ask(client: httpx.AsyncClient, call: str) -> tuple[int, bytes, bool]:
    """Status, body and whether the body ended as HTTP wants it."""
    body = {"model": "tts", "input": call, "voice": "alloy"}
    async with client.stream("POST", "/v1/audio/speech", json=body) as reply:
        read = bytearray()
        try:
            async for chunk in reply.aiter_raw():
                read += chunk
        except httpx.RemoteProtocolError:
            return reply.status_code, bytes(read), False
        return reply.status_code, bytes(read), True


async def storm(server: Server) -> dict[str, tuple[int, bytes, bool]]:
    turns = asyncio.Semaphore(CALLERS)
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60, limits=limits) as client:

        async def caller(call: str) -> tuple[int, bytes, bool]:
            async with turns:
                return await ask(client, call)

        calls = [f"call {number}" for number in range(CALLS)]
        return dict(zip(calls, await asyncio.gather(*map(caller, calls)), strict=True))


def judged(call: str, status: int, body: bytes, complete: bool) -> str:
    """What became of a call; fails where that must not be."""
    fates = {vendor: fate(vendor, call) for vendor in VENDORS}
    of_whom = [vendor for vendor in VENDORS if body and b"".join(audio(vendor, call)).startswith(body)]
    if status != 200:
        assert complete, f"{call}: an error was cut"
        assert b'"error"' in body
        assert not {"well", *CUT} & set(fates.values()), f"{call}: {status} though somebody would have served: {fates}"
        return "error"
    assert len(of_whom) == 1, f"{call}: not one vendor's audio"
    if complete:
        assert body == b"".join(audio(of_whom[0], call)), f"{call}: truncated and looks complete"
        assert fates[of_whom[0]] == "well"
        return "served"
    assert fates[of_whom[0]] in CUT, f"{call}: cut, though {of_whom[0]} sent everything"
    return "cut"


def test_every_call_that_had_a_healthy_deployment_succeeds(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        vendors = [Vendor(name) for name in VENDORS]
        for vendor in vendors:
            stack.callback(vendor.close)
        server = serve(config(vendors))
        outcomes = asyncio.run(storm(server))
        requests = sum(len(vendor.requests) for vendor in vendors)
        metrics = httpx.get(server.url + "/metrics", headers={"authorization": f"Bearer {MASTER_KEY}"}).text
    results = Counter(judged(call, *outcome) for call, outcome in outcomes.items())
    fates = Counter(fate(vendor, call) for vendor in VENDORS for call in outcomes)
    with capsys.disabled():
        print(
            f"\nchaos: {CALLS} calls of {CALLERS} callers, {requests} requests upstream; {dict(results)}; {dict(fates)}"
        )
    assert sum(results.values()) == CALLS
    assert results["served"] > results["cut"] > 0
    assert results["error"] > 0
    assert set(fates) == set(FATES)
    assert "audio_proxy_in_flight 0.0" in metrics
    assert "audio_proxy_upstream_streams 0.0" in metrics
