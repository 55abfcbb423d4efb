"""One proxy in front of the fakes of all cases that were selected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.api.app import bound_groups
from proxy.commands.configuration import load
from proxy.matching import BoundDeployment
from proxy.providers.base import Capabilities
from tests.conftest import MASTER_KEY, Server, launch
from tests.fakes.upstream import Recorded
from tests.fakes.vendor import VendorServer
from tests.front.shape import error_of
from tests.front.wire import Wire
from tests.providers import spec
from tests.providers.contract import Case, SpeechCase, TranscriptionCase, every_case, key_of
from tests.providers.sound import whole_sound

#: A case's further deployments: any voice may be named; and one that waits for little.
ANY_VOICE, HASTY = "-any-voice", "-hasty"
HASTY_SECONDS = 0.4
#: The texts that the guardrail of that name blocks.
CANARY = "canary7|4929381332664295"


@dataclass
class Stage:
    server: Server
    vendors: Mapping[str, VendorServer]
    #: The deployments in this process, for what no client can see.
    lines: Mapping[str, BoundDeployment]
    http: httpx.Client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, kind in (("speech", SpeechCase), ("transcription", TranscriptionCase)):
        if name in metafunc.fixturenames:
            found = [case for case in every_case().cases if isinstance(case, kind)]
            metafunc.parametrize(name, found, ids=[case.id for case in found], indirect=True)


def configuration(vendors: Mapping[str, VendorServer]) -> dict[str, Any]:
    """Each case as a model group, and again with other settings."""
    entries = []
    for vendor in vendors.values():
        further = {
            HASTY: {"timeout": HASTY_SECONDS},
            **({ANY_VOICE: {"allow_any_voice": True}} if _speaks(vendor) else {}),
        }
        for suffix, settings in {"": {}, **further}.items():
            entries.append(_entry(vendor, suffix, settings))
    return {
        "model_list": entries,
        "guardrails": [
            {
                "guardrail_name": "canary",
                "litellm_params": {"guardrail": "blocked_words", "mode": "pre_call", "patterns": [CANARY]},
            }
        ],
        "router_settings": {"num_retries": 0},
        "general_settings": {"master_key": MASTER_KEY, "log_format": "json"},
    }


def _speaks(vendor: VendorServer) -> bool:
    return isinstance(vendor.case, SpeechCase)


def _entry(vendor: VendorServer, suffix: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    case = vendor.case
    params = {"model": case.model, "api_base": vendor.url, "api_key": key_of(case), **case.params, **settings}
    return {
        "model_name": case.id + suffix,
        "litellm_params": {name: value for name, value in params.items() if value is not None},
        "model_info": {"mode": case.mode, **case.model_info},
    }


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("vendors")
    with ExitStack() as stack:
        vendors = {case.id: stack.enter_context(closing(VendorServer(case))) for case in _selected(request.session)}
        config = configuration(vendors)
        server = launch(config, folder)
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        http = stack.enter_context(httpx.Client(base_url=server.url + "/v1", headers=headers, timeout=20))
        yield Stage(server, vendors, bound(config, folder), http)
        assert server.stop() == 0, server.log()
        assert "unexpected error" not in server.log(), server.log()


def _selected(session: pytest.Session) -> list[Case]:
    asked = {
        value.id: value
        for item in session.items
        for value in (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        if isinstance(value, Case)
    }
    return list(asked.values())


def bound(config: Mapping[str, Any], folder: Path) -> dict[str, BoundDeployment]:
    """The deployments of a configuration, by their groups' names."""
    path = folder / "bound.yaml"
    path.write_text(yaml.safe_dump(dict(config)))
    loaded = load(path, {})
    return {name: group[0] for name, group in bound_groups(loaded).items()}


class Desk:
    """One case, and the ways to ask for it."""

    def __init__(self, stage: Stage, case: Case) -> None:
        self.server = stage.server
        self.http = stage.http
        self.vendor = stage.vendors[case.id]
        self.line = stage.lines[case.id]
        self.can: Capabilities = self.line.adapter.capabilities
        self._case = case

    def kind_of(self, reply: httpx.Response) -> str:
        """How the log names the error of a call."""
        line = self.server.log_lines(reply.headers["x-request-id"])[-1]
        return str(json.loads(line)["error"])

    def refused(self, reply: httpx.Response, param: str) -> None:
        """A clear 400 of that field, and nothing went upstream, save a look at the vendor's voices."""
        error = error_of(reply, 400)
        assert error["param"] == param, error
        assert all(one.method == "GET" for one in self.vendor.requests), "refused, but asked all the same"

    def failed(self, reply: httpx.Response, status: int) -> dict[str, Any]:
        """An error that tells neither key nor address."""
        error = error_of(reply, status)
        for secret in (key_of(self._case), self.vendor.host, "127.0.0.1"):
            assert secret not in reply.text, f"the answer tells {secret}"
        return error

    def check(self) -> None:
        """Every request was meant for this vendor, carries its key where it belongs, and fits its spec."""
        for request in self.vendor.requests:
            assert request.broken is None, request.broken
            self._check_head(request)
            if request.received.is_set() and self._case.spec is not None:
                said = spec.load(self._case.spec).complaints(request, self._case.base_path)
                assert not said, f"{request.method} {request.target}: {said}"

    def _check_head(self, request: Recorded) -> None:
        key, (name, value) = key_of(self._case), self._case.key_header
        assert request.header(name) == value.format(key=key)
        assert request.header("host") == self.vendor.host
        sent = [f"{name}: {value}" for name, value in request.headers]
        assert sum(key in line for line in sent) <= 1, sent
        body = request.body + b"".join(part.value for part in request.parts)
        assert key not in request.target
        assert key.encode() not in body
        assert not [line for line in sent if MASTER_KEY in line]


class SpeechDesk(Desk):
    def __init__(self, stage: Stage, case: SpeechCase) -> None:
        super().__init__(stage, case)
        self.case = case

    def body(self, fields: Mapping[str, Any], suffix: str = "") -> dict[str, Any]:
        """What a caller sends; a field given as None is left out."""
        body = {"model": self.case.id + suffix, "input": "Hello there.", "voice": "alloy", **fields}
        return {name: value for name, value in body.items() if value is not None}

    def say(self, suffix: str = "", **fields: Any) -> httpx.Response:
        return self.http.post("/audio/speech", json=self.body(fields, suffix))

    @property
    def native(self) -> str:
        """A format that the vendor makes itself."""
        return (self.can.formats or ("mp3",))[0]


class TranscriptionDesk(Desk):
    AUDIO = whole_sound("wav")

    def __init__(self, stage: Stage, case: TranscriptionCase) -> None:
        super().__init__(stage, case)
        self.case = case

    def hear(
        self, suffix: str = "", *, upload: bytes = AUDIO, filename: str = "a.wav", **fields: Any
    ) -> httpx.Response:
        """Lists are sent as ``name[]``."""
        data = {f"{name}[]" if isinstance(value, list) else name: value for name, value in fields.items()}
        data["model"] = self.case.id + suffix
        return self.http.post("/audio/transcriptions", data=data, files={"file": (filename, upload)})


@pytest.fixture
def speech(request: pytest.FixtureRequest, stage: Stage) -> Iterator[SpeechDesk]:
    yield from _seated(request, SpeechDesk(stage, request.param))


@pytest.fixture
def transcription(request: pytest.FixtureRequest, stage: Stage) -> Iterator[TranscriptionDesk]:
    yield from _seated(request, TranscriptionDesk(stage, request.param))


def _seated(request: pytest.FixtureRequest, desk: Any) -> Iterator[Any]:
    reason = desk.case.skips.get(request.function.__name__)
    if reason is not None:
        pytest.skip(reason)
    desk.vendor.reset()
    yield desk
    desk.check()
    desk.vendor.reset()


@pytest.fixture
def wire(stage: Stage) -> Iterator[Wire]:
    """A raw connection to the proxy."""
    with Wire(stage.server.port) as connection:
        yield connection
