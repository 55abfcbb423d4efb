"""``/openapi.json`` says what the admin routes take and answer: every route is driven, and compared with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from proxy.storage.database import Database
from tests.accounting.test_usage import call, store
from tests.conftest import MASTER_KEY, Server, launch, standard_config
from tests.fakes.upstream import Upstream

CHOSEN = "sk-Vf7_q2LmX9-bTzR4wKc8Hn3e"
VERDICTS = '[{"guardrail": "pii", "stage": "pre_call", "verdict": "redacted", "ms": 0.5, "found": ["CREDIT_CARD"]}]'
#: They are described by hand, and are no admin routes.
AUDIO = ("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations")


class Driver:
    """Sends requests to a server and compares them, and the answers, with its description."""

    def __init__(self, server: Server) -> None:
        self._client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=20)
        self.document: dict[str, Any] = self._client.get("/openapi.json").json()
        self.driven: set[tuple[str, str]] = set()

    def get(self, path: str, expected: int = 200, /, **query: Any) -> Any:
        operation = self._operation("get", path)
        documented = {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", ())}
        if expected == 200:
            for name, value in query.items():
                self._check(value, documented[name])
        names = [name for name in documented if f"{{{name}}}" in path]
        url = path.format(**{name: query.pop(name) for name in names})
        return self._answer(operation, self._client.get(url, params=query), expected)

    def post(self, path: str, body: Any = None, expected: int = 200, /, **names: str) -> Any:
        operation = self._operation("post", path)
        if body is not None and expected == 200:
            self._check(body, operation["requestBody"]["content"]["application/json"]["schema"])
        return self._answer(operation, self._client.post(path.format(**names), json=body), expected)

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        self.driven.add((method, path))
        operation: dict[str, Any] = self.document["paths"][path][method]
        return operation

    def _answer(self, operation: dict[str, Any], reply: httpx.Response, expected: int) -> Any:
        assert reply.status_code == expected, reply.text
        responses = operation["responses"]
        content = responses.get(str(expected), responses["default"])["content"]
        media_type = reply.headers["content-type"].partition(";")[0]
        answer = reply.json() if media_type == "application/json" else reply.text
        self._check(answer, content[media_type]["schema"])
        return answer

    def _check(self, value: Any, schema: dict[str, Any]) -> None:
        validator = jsonschema.Draft202012Validator({**schema, "components": self.document["components"]})
        validator.validate(value)


def closed(schema: Any) -> Any:
    """The schema, with every object closed to fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **found} if isinstance(found.get("properties"), dict) else found


@pytest.fixture(scope="module")
def driver(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    server = launch(standard_config(fake.url), tmp_path_factory.mktemp("openapi"))

    async def fill() -> None:
        database = Database(f"sqlite:///{server.config_path.with_name('audio-proxy.db')}")
        full = call(
            1, end_user="alice", guardrails=VERDICTS, tags=["eu"], fallback="other", audio_seconds_out=1.5, user_id="u"
        )
        await store(database, [full, call(2, error="upstream_timeout", cost=None, key_id=None)])
        await database.aclose()

    asyncio.run(fill())
    driver = Driver(server)
    driver.document["components"] = closed(driver.document["components"])
    yield driver
    assert server.stop() == 0, server.log()


def keys(driver: Driver) -> None:
    settings = {
        "key_alias": "one", "user_id": "u", "team_id": "t", "models": ["tts"], "tags": ["eu"], "guardrails": [],
        "metadata": {"owner": {"name": "ops"}}, "blocked": False, "duration": "30d",
    }  # fmt: skip
    made = driver.post("/key/generate", {**settings, "key": CHOSEN, "spend": 1})
    assert (made["key"], made["ignored"]) == (CHOSEN, ["spend"])
    driver.post("/key/update", {"key": CHOSEN, "user_id": None, "models": []})
    driver.post("/key/block", {"key": made["token"]})
    driver.post("/key/unblock", {"key": CHOSEN})
    driver.get("/key/info", key=made["token"])
    driver.get("/key/list", page=1, size=10, team_id="t", return_full_object=False)
    driver.get("/key/list", return_full_object=True)
    second = driver.post("/key/regenerate", {"key": CHOSEN, "new_key": CHOSEN + "2"})
    third = driver.post("/key/{key}/regenerate", {"tags": ["night"]}, key=second["token"])
    deleted = driver.post("/key/delete", {"keys": [third["key"]], "key_aliases": ["one"]})
    assert deleted["deleted_keys"] == [third["token"]] * 2
    driver.post("/key/delete", {"keys": [third["key"]]}, 404)
    driver.post("/key/generate", {"models": "tts"}, 400)
    driver.get("/key/list", 400, page=0)


def end_users(driver: Driver) -> None:
    driver.post("/end_users/block", {"user_ids": ["eve"]})
    listed = driver.get("/end_users", start="2026-11-01", end="2026-11-30", limit=10, cursor="")
    assert [(row["id"], row["blocked"]) for row in listed["data"]] == [("alice", False), ("eve", True)]
    driver.post("/end_users/unblock", {"user_ids": ["eve"]})
    driver.post("/end_users/block", {"user_ids": "eve"}, 400)


def usage(driver: Driver) -> None:
    for group_by in ("", "day,key", "user,team,end_user", "model,vendor,deployment,tag"):
        sums = driver.get("/usage", group_by=group_by, start="2026-11-01", model="tts")
        assert sums["total"]["calls"] == 2
        driver.get("/usage", group_by=group_by, format="csv")
    driver.get("/usage", 400, group_by="nonsense")
    filters = dict.fromkeys(("user", "team", "end_user", "model", "vendor", "deployment", "tag"), "x")
    driver.get("/usage", key="master", end="2026-11-30", **filters)
    driver.get("/usage/calls", key="master", end="2026-11-30", **filters)


def calls(driver: Driver) -> None:
    page = driver.get("/usage/calls", limit=1)
    rest = driver.get("/usage/calls", limit=1, cursor=page["next_cursor"])
    assert rest["data"][0]["guardrails"][0]["found"] == ["CREDIT_CARD"]
    driver.get("/usage/calls", format="csv")
    driver.get("/usage/calls", 400, cursor="x")


def catalog_and_health(driver: Driver) -> None:
    models = [model["id"] for model in driver.get("/v1/models")["data"]]
    for model in models:
        driver.get("/v1/models/{name}", name=model)
    driver.get("/v1/models/{name}", 404, name="nonsense")
    driver.get("/v1/audio/models")
    driver.get("/v1/audio/voices")
    driver.get("/v1/audio/voices", model="tts")
    driver.get("/v1/audio/speech/voices", model_id="tts")
    driver.get("/v1/models", task="text-to-speech")
    deployments = driver.get("/v1/model/info")["data"]
    driver.get("/v1/model/info", litellm_model_id=deployments[0]["model_info"]["id"])
    driver.get("/v1/model/info", 400, litellm_model_id="nonsense")
    driver.get("/model_group/info")
    driver.get("/model_group/info", model_group="tts")
    driver.get("/model_group/info", 404, model_group="nonsense")
    for path in ("/health", "/health/liveliness", "/health/readiness", "/metrics"):
        driver.get(path)
    driver.post("/health/probe")


def test_every_route_takes_and_answers_what_is_described(driver: Driver, upstream: Upstream) -> None:
    for part in (keys, end_users, usage, calls, catalog_and_health):
        part(driver)
    described = {(method, path) for path, item in driver.document["paths"].items() for method in item}
    assert described - driver.driven == {("post", path) for path in AUDIO}


def test_every_example_of_a_body_is_accepted(driver: Driver) -> None:
    schema = driver.document["paths"]["/key/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    examples = {name: field["examples"][0] for name, field in schema["properties"].items() if field.get("examples")}
    assert {"key_alias", "models", "tags", "metadata", "duration"} <= examples.keys()
    driver.post("/key/generate", examples)
