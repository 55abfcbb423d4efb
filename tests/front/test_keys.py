"""Virtual keys through the front door: who may make them, what they open, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import MASTER_KEY, Server, command, launch, standard_config
from tests.fakes.samples import wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.test_reload import replace, until

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
CUSTOM = "sk-Vf7_q2LmX9-bTzR4wKc8Hn3e"
METRICS = "sk-metrics-5e1d7a90c3b24f68aa"
Serve = Callable[..., Server]
ROUTES = [
    ("POST", "/key/generate"), ("POST", "/key/update"), ("POST", "/key/delete"), ("POST", "/key/regenerate"),
    ("POST", "/key/abc/regenerate"), ("POST", "/key/block"), ("POST", "/key/unblock"), ("GET", "/key/list"),
    ("GET", "/end_users"), ("POST", "/end_users/block"), ("POST", "/end_users/unblock"), ("POST", "/customer/block"),
    ("POST", "/end_user/unblock"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = standard_config(fake.url, metrics_token=METRICS)
    config["router_settings"] = {
        "fallbacks": [{"nowhere": ["tts", "gpt-tts"]}, {"tts": ["gpt-tts"]}],
        "model_group_alias": {"my-tts": "tts"},
        "num_retries": 0,
    }
    running = launch(config, tmp_path_factory.mktemp("keys"))
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture
def admin(http: httpx.Client) -> httpx.Client:
    """With the master key."""
    return http


def made(admin: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = admin.post("/key/generate", json=fields)
    assert reply.status_code == 200, reply.text
    assert reply.headers["cache-control"] == "no-store"
    document: dict[str, Any] = reply.json()
    return document


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def speak(server: Server, key: str, **fields: Any) -> httpx.Response:
    return httpx.post(server.url + SPEAK, json=HELLO | fields, headers=bearer(key), timeout=20)


# -- making ------------------------------------------------------------------------------------------------------------


def test_a_generated_key_opens_the_door_and_is_shown_once(server: Server, upstream: Upstream, admin: Any) -> None:
    document = made(admin, key_alias="once", user_id="u", team_id="t", metadata={"a": 1}, tags=["eu"])
    key = document["key"]
    assert re.fullmatch(r"sk-[\w-]{43}", key)
    assert document["token"] == document["token_id"] == hashlib.sha256(key.encode()).hexdigest()
    assert document["key_name"] == f"sk-...{key[-4:]}"
    assert {name: document[name] for name in ("key_alias", "user_id", "team_id", "metadata", "tags", "models")} == {
        "key_alias": "once", "user_id": "u", "team_id": "t", "metadata": {"a": 1}, "tags": ["eu"], "models": [],
    }  # fmt: skip
    assert document["expires"] is None
    assert speak(server, key).status_code == 200
    others = [admin.get("/key/info", params={"key": key}), admin.get("/key/list?return_full_object=true&size=1000")]
    others += [httpx.get(server.url + "/key/info", headers=bearer(key)), admin.post("/key/block", json={"key": key})]
    for reply in others:
        assert reply.status_code == 200, reply.text
        assert key not in reply.text
        assert document["token"] in reply.text


def test_a_key_is_nowhere_but_in_its_answer(server: Server, upstream: Upstream, admin: Any) -> None:
    keys = [made(admin)["key"], made(admin, key=CUSTOM + "1")["key"]]
    for key in keys:
        speak(server, key, input="")
        admin.post("/key/regenerate", json={"key": key, "max_budget": 1})
        admin.post(f"/key/{key}/regenerat", json={})
        admin.post(f"/key/{key}/regenerate", json={"nonsense": key})
        admin.post("/key/generate", json={"key": key})
        admin.post("/key/update", json={"key": key, "duration": "nonsense"})
        admin.get("/key/info", params={"key": key})
        admin.post("/key/delete", json={"keys": [key]})
        admin.get("/key/info", params={"key": key})
        assert speak(server, key).status_code == 401
    stored = b"".join(path.read_bytes() for path in server.config_path.parent.glob("audio-proxy.db*"))
    for key in keys:
        assert hashlib.sha256(key.encode()).hexdigest().encode() in stored
        assert key.encode() not in stored
        assert key not in server.log()
        assert key[3:].encode() not in stored


@pytest.mark.parametrize(("duration", "seconds"), [("30s", 30), ("30m", 1800), ("24h", 86_400), ("30d", 2_592_000)])
def test_durations(server: Server, admin: Any, duration: str, seconds: int) -> None:
    before = time.time()
    expires = datetime.fromisoformat(made(admin, duration=duration)["expires"])
    assert before + seconds - 1 <= expires.timestamp() <= time.time() + seconds + 1
    assert expires.tzinfo == UTC


def test_an_expired_key_is_401_and_says_so(server: Server, upstream: Upstream, admin: Any) -> None:
    key = made(admin, duration="1s")["key"]
    limit = time.monotonic() + 10
    while (reply := speak(server, key)).status_code == 200:
        assert time.monotonic() < limit
        time.sleep(0.1)
    error_of(reply, 401, "expired_api_key")
    updated = admin.post("/key/update", json={"key": key, "duration": "-1"})
    assert updated.json()["expires"] is None
    assert speak(server, key).status_code == 200


def test_a_key_of_ones_own(server: Server, upstream: Upstream, admin: Any) -> None:
    assert made(admin, key=CUSTOM)["key"] == CUSTOM
    assert speak(server, CUSTOM).status_code == 200
    error_of(admin.post("/key/generate", json={"key": CUSTOM}), 400, "key_exists")


@pytest.mark.parametrize(
    "key",
    [
        "sk-short", "sk-1234567890123456789012", "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sk-" + "0123456789ab" * 2,
        "sk-my-very-own-password-for-this", "Vf7_q2LmX9-bTzR4wKc8Hn3e", "sk-Vf7 q2LmX9 bTzR4wKc8Hn3e",
        "sk-Vf7_q2LmX9-bTzR4wKc8Hn3é", "sk-" + "Vf7_q2LmX9" * 30, "", 7, ["sk-Vf7_q2LmX9-bTzR4wKc8Hn3e"], MASTER_KEY,
        METRICS,
    ],
)  # fmt: skip
def test_a_key_that_can_be_guessed_or_is_another_is_refused(admin: Any, key: Any) -> None:
    reply = admin.post("/key/generate", json={"key": key})
    assert error_of(reply, 400)["param"] == "key"
    assert not key or str(key) not in reply.text


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"max_budget": 10}, {"max_budget": 0}, {"tpm_limit": 5}, {"rpm_limit": 5}, {"allowed_routes": ["/x"]},
        {"max_parallel_requests": 1}, {"budget_duration": "30d"}, {"policies": ["pii"]}, {"aliases": {"a": "b"}},
        {"permissions": {"x": False}}, {"model_max_budget": {"tts": 1}}, {"soft_budget": 1},
        {"key_type": "management"}, {"organization_id": "o"}, {"enforced_params": ["user"]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/key/generate", "/key/update", "/key/regenerate"])
def test_a_limit_that_would_have_no_effect_is_refused(admin: Any, path: str, fields: dict[str, Any]) -> None:
    before = admin.get("/key/list").json()["total_count"]
    target = {} if path == "/key/generate" else {"key": "a" * 64}
    error = error_of(admin.post(path, json=fields | target), 400, "unsupported_parameter")
    assert error["param"] == next(iter(fields))
    assert admin.get("/key/list").json()["total_count"] == before


def test_what_is_harmless_is_ignored_and_named(admin: Any) -> None:
    empty = {"max_budget": None, "aliases": {}, "config": {}, "permissions": {}, "guardrails": None}
    document = made(admin, spend=0.5, send_invite_email=True, key_type="llm_api", **empty)
    assert sorted(document["ignored"]) == ["key_type", "send_invite_email", "spend"]
    assert "ignored" not in made(admin, **empty)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modles": ["tts"]}, "modles"), ({"model": "tts"}, "model"), ({"models": "tts"}, "models"),
        ({"models": [1]}, "models"), ({"models": ["openai/*"]}, "models"), ({"models": ["all-team-models"]}, "models"),
        ({"duration": "soon"}, "duration"), ({"duration": "0s"}, "duration"), ({"duration": 30}, "duration"),
        ({"duration": "999999999d"}, "duration"), ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"), ({"tags": ["a,b"]}, "tags"), ({"tags": ["x"] * 21}, "tags"),
        ({"guardrails": "no-cards"}, "guardrails"), ({"guardrails": ["a,b"]}, "guardrails"),
        ({"tags": ["x" * 129]}, "tags"), ({"key_alias": "x" * 257}, "key_alias"), ({"key_alias": "a\nb"}, "key_alias"),
        ({"user_id": "nul\x00"}, "user_id"), ({"key_alias": "a" * 64}, "key_alias"), ({"blocked": "maybe"}, "blocked"),
        ({"key_alias": "master"}, "key_alias"),
    ],
)  # fmt: skip
def test_fields_that_cannot_be(admin: Any, fields: dict[str, Any], param: str) -> None:
    assert error_of(admin.post("/key/generate", json=fields), 400)["param"] == param


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("ttss", "tts"), ("whispr", "whisper"), ("my_tts", "my-tts"), ("openai/TTS", "tts"), ("", "")],
)
def test_a_model_that_does_not_exist_is_corrected(admin: Any, wrong: str, nearest: str) -> None:
    key = made(admin, models=["tts"])["key"]
    count = admin.get("/key/list").json()["total_count"]
    bodies = {"/key/generate": {}, "/key/update": {"key": key}, "/key/regenerate": {"key": key}}
    for path, body in bodies.items():
        error = error_of(admin.post(path, json={**body, "models": ["tts", wrong]}), 400, "model_not_found")
        assert error["param"] == "models"
        assert f"Did you mean '{nearest}'?" in error["message"] or not nearest
    assert admin.get("/key/list").json()["total_count"] == count, "nothing was made"
    assert admin.get("/key/info", params={"key": key}).json()["info"]["models"] == ["tts"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"user_id": "\xff"}', b'{"user_id": "\\ud800"}', b"1"])
def test_bodies_that_are_no_documents(admin: Any, body: bytes) -> None:
    error_of(admin.post("/key/generate", content=body), 400)


def test_a_body_is_bounded_and_not_read_without_a_key(server: Server, admin: Any) -> None:
    large = b'{"metadata": {"a": "' + b"x" * (2 << 20) + b'"}}'
    error_of(admin.post("/key/generate", content=large), 413)
    error_of(httpx.post(server.url + "/key/generate", content=b"{"), 401)


# -- changing ----------------------------------------------------------------------------------------------------------


def test_update_changes_what_it_names(server: Server, upstream: Upstream, admin: Any) -> None:
    key = made(admin, key_alias="before", user_id="u", models=["tts"], tags=["eu"], duration="30d")
    changed = admin.post("/key/update", json={"key": key["key"], "models": ["gpt-tts"], "user_id": "", "tags": None})
    assert changed.status_code == 200, changed.text
    info = admin.get("/key/info", params={"key": key["token"]}).json()["info"]
    assert (info["key_alias"], info["user_id"], info["models"], info["tags"]) == ("before", None, ["gpt-tts"], ["eu"])
    assert info["expires"] == key["expires"]
    assert speak(server, key["key"]).status_code == 404
    assert speak(server, key["key"], model="gpt-tts").status_code == 200


def test_a_blocked_key_is_403_until_it_is_unblocked(server: Server, upstream: Upstream, admin: Any) -> None:
    key = made(admin)["key"]
    assert speak(server, key).status_code == 200
    assert admin.post("/key/block", json={"key": key}).json()["blocked"] is True
    error_of(speak(server, key), 403, "key_blocked")
    error_of(httpx.get(server.url + "/v1/models", headers=bearer(key)), 403, "key_blocked")
    assert admin.post("/key/unblock", json={"key": key}).json()["blocked"] is False
    assert speak(server, key).status_code == 200
    assert made(admin, blocked=True)["blocked"] is True


@pytest.mark.parametrize("in_path", [True, False])
def test_a_regenerated_key_takes_the_place_of_the_old_one(
    server: Server, upstream: Upstream, admin: Any, in_path: bool
) -> None:
    old = made(admin, key_alias=f"again {in_path}", models=["tts"], user_id="u", duration="30d")
    body = {"user_id": "v"}
    reply = (
        admin.post(f"/key/{old['token']}/regenerate", json=body)
        if in_path
        else admin.post("/key/regenerate", json={"key": old["key"], **body})
    )
    new = reply.json()
    assert new["key"] != old["key"]
    for name in ("key_alias", "models", "expires"):
        assert new[name] == old[name]
    assert new["user_id"] == "v"
    error_of(speak(server, old["key"]), 401, "invalid_api_key")
    assert speak(server, new["key"]).status_code == 200


def test_deleted_keys_end_and_are_gone(server: Server, upstream: Upstream, admin: Any) -> None:
    first, second = made(admin), made(admin, key_alias="by alias")
    assert speak(server, first["key"]).status_code == 200
    body = {"keys": [first["key"]], "key_aliases": ["by alias"]}
    assert admin.post("/key/delete", json=body).json() == {"deleted_keys": [first["token"], second["token"]]}
    for key in (first, second):
        error_of(speak(server, key["key"]), 401, "invalid_api_key")
        error_of(admin.get("/key/info", params={"key": key["token"]}), 404, "key_not_found")
    error_of(admin.post("/key/delete", json=body), 404, "key_not_found")
    error_of(admin.post("/key/delete", json={}), 400)
    error_of(admin.post("/key/delete", json={"keys": ["no key"]}), 400)


def test_the_list_is_paged_and_filtered(admin: Any) -> None:
    tokens = [made(admin, team_id="paged", key_alias=f"paged {number}")["token"] for number in range(5)]
    pages = [admin.get("/key/list", params={"team_id": "paged", "size": 2, "page": page}).json() for page in (1, 2, 3)]
    assert sorted(token for page in pages for token in page["keys"]) == sorted(tokens)
    assert [(page["total_count"], page["current_page"], page["total_pages"]) for page in pages] == [
        (5, 1, 3), (5, 2, 3), (5, 3, 3),
    ]  # fmt: skip
    assert admin.get("/key/list", params={"key_alias": "paged 3"}).json()["keys"] == [tokens[3]]
    assert admin.get("/key/list", params={"team_id": "' OR 1=1 --"}).json()["keys"] == []
    for query in ({"size": 0}, {"size": 10**9}, {"page": "x"}):
        error_of(admin.get("/key/list", params=query), 400)


def test_the_list_is_filtered_by_hash_and_by_organization(admin: Any) -> None:
    one = made(admin, key_alias="by hash")
    for reference in (one["token"], one["key"]):
        listed = admin.get("/key/list", params={"key_hash": reference, "return_full_object": True}).json()
        assert [key["token"] for key in listed["keys"]] == [one["token"]]
        assert listed["total_count"] == 1
    assert admin.get("/key/list", params={"key_hash": "0" * 64}).json()["keys"] == []
    for organization in ("default", ""):
        nobody = admin.get("/key/list", params={"organization_id": organization}).json()
        assert (nobody["keys"], nobody["total_count"]) == ([], 0), "keys belong to no organization"
    assert error_of(admin.get("/key/list?key_hash=by%20hash"), 400)["param"] == "key"


def test_the_list_takes_what_litellms_command_line_sends(admin: Any) -> None:
    one = made(admin, team_id="of a script")
    for value in ("false", "true"):
        query = {
            "page": 1,
            "size": 10,
            "team_id": "of a script",
            "return_full_object": "true",
            "include_team_keys": value,
            "include_created_by_keys": value,
        }
        assert [key["token"] for key in admin.get("/key/list", params=query).json()["keys"]] == [one["token"]]


@pytest.mark.parametrize("path", ["/key/list", "/usage", "/usage/calls", "/end_users"])
@pytest.mark.parametrize("name", ["usr_id", "token", "status", "project_id", "PAGE", "user_ids[]"])
def test_no_list_takes_a_filter_that_it_does_not_know(server: Server, admin: Any, path: str, name: str) -> None:
    """A script that deletes what it has listed must not delete everything."""
    error = error_of(admin.get(path, params={name: "x"}), 400, "unknown_parameter")
    assert error["param"] == name
    assert "end" in error["message"] or "page" in error["message"], "it names those that it knows"
    error_of(httpx.get(server.url + path, params={name: "x"}), 401)


def test_a_filter_that_is_nearly_right_is_corrected(admin: Any) -> None:
    for path, wrong, right in (("/key/list", "teamid", "team_id"), ("/usage", "groupby", "group_by")):
        assert f"Did you mean '{right}'?" in error_of(admin.get(path, params={wrong: "x"}), 400)["message"]


# -- who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_the_master_key_administers(server: Server, admin: Any, method: str, path: str) -> None:
    virtual = made(admin)["key"]
    error_of(httpx.request(method, server.url + path, headers=bearer(virtual)), 403, "permission_denied")
    for headers in ({}, bearer("sk-wrong-0123456789abcdefghijklm"), bearer(METRICS), {"authorization": "Basic eDp5"}):
        error_of(httpx.request(method, server.url + path, headers=headers), 401, "invalid_api_key")


def test_a_key_sees_itself_and_no_other(server: Server, admin: Any) -> None:
    one, other = made(admin, key_alias="self"), made(admin)
    for params in ({}, {"key": one["key"]}, {"key": one["token"]}):
        reply = httpx.get(server.url + "/key/info", params=params, headers=bearer(one["key"]))
        assert (reply.json()["key"], reply.json()["info"]["key_alias"]) == (one["token"], "self")
    for key in (other["key"], other["token"], "0" * 64, MASTER_KEY):
        reply = httpx.get(server.url + "/key/info", params={"key": key}, headers=bearer(one["key"]))
        error_of(reply, 403, "permission_denied")
    error_of(admin.get("/key/info"), 400)


@pytest.mark.parametrize("path", ["/metrics", "/health", "/docs", "/openapi.json"])
def test_a_virtual_key_is_no_operator(server: Server, admin: Any, path: str) -> None:
    error_of(httpx.get(server.url + path, headers=bearer(made(admin)["key"])), 401)


def test_a_virtual_key_starts_no_paid_probes(server: Server, upstream: Upstream, admin: Any) -> None:
    error_of(httpx.post(server.url + "/health/probe", headers=bearer(made(admin)["key"])), 403)
    assert not upstream.requests


#: What a weak master key may not do, besides `ROUTES`.
RECORDS = [
    ("GET", "/key/info"), ("GET", "/usage"), ("GET", "/usage/calls"), ("GET", "/metrics"), ("GET", "/health"),
    ("POST", "/health/probe"), ("GET", "/docs"), ("GET", "/openapi.json"),
]  # fmt: skip


def test_a_master_key_that_can_be_guessed_only_makes_calls_wherever_it_comes_from(
    upstream: Upstream, serve: Serve
) -> None:
    server = serve(standard_config(upstream.url, master_key="sk-1234", metrics_token=METRICS))
    weak = bearer("sk-1234")
    for also in ({}, {"host": f"localhost:{server.port}"}, {"x-forwarded-for": "127.0.0.1"}):
        for method, path in [*ROUTES, *RECORDS]:
            refused = httpx.request(method, server.url + path, headers=weak | also)
            error_of(refused, 403, "weak_master_key")
            assert "allow_weak_master_key" in refused.text
    basic = base64.b64encode(b"admin:sk-1234").decode()
    error_of(httpx.get(server.url + "/metrics", headers={"authorization": f"Basic {basic}"}), 403, "weak_master_key")
    assert not upstream.requests
    for path in ("/v1/models", "/v1/audio/voices", "/model/info", "/health/liveliness", "/health/readiness"):
        assert httpx.get(server.url + path, headers=weak).status_code == 200
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=weak).status_code == 200
    assert httpx.get(server.url + "/metrics", headers=bearer(METRICS)).status_code == 200


def test_keys_made_by_a_weak_master_key_are_named_once_it_is_replaced(
    upstream: Upstream, serve: Serve, tmp_path: Path
) -> None:
    """They work on, so whoever guessed the key is still inside."""

    def config(key: str, *, allow: bool) -> dict[str, Any]:
        database = f"sqlite:///{tmp_path}/records.db"
        return standard_config(upstream.url, master_key=key, allow_weak_master_key=allow, database_url=database)

    def naming(text: str) -> list[str]:
        return [line for line in text.splitlines() if "master key could be guessed" in line]

    server = serve(config("sk-1234", allow=True))
    assert "allow_weak_master_key: whoever guesses" in server.log()
    with httpx.Client(base_url=server.url, headers=bearer("sk-1234"), timeout=20) as admin:
        for path in ("/key/list", "/usage", "/usage/calls", "/metrics", "/health", "/docs"):
            assert admin.get(path).status_code == 200
        made(admin, key_alias="intruder")
        nameless, renewed, blocked = made(admin), made(admin, key_alias="renewed"), made(admin, key_alias="blocked")
        made(admin, key_alias="short", duration="1s")
    assert not naming(server.log())

    replace(server.config_path, yaml.safe_dump(config(MASTER_KEY, allow=False)))
    until(lambda: bool(naming(server.log())))
    (line,) = naming(server.log())
    assert all(name in line for name in ("intruder", nameless["key_name"], "renewed", "blocked"))
    with httpx.Client(base_url=server.url, headers=bearer(MASTER_KEY), timeout=20) as admin:
        admin.post("/key/regenerate", json={"key": renewed["token"]}).raise_for_status()
        admin.post("/key/block", json={"key": blocked["token"]}).raise_for_status()
        made(admin, key_alias="good")
    time.sleep(1)
    assert server.stop() == 0

    checked = command("check", "--config", str(server.config_path), folder=tmp_path)
    assert checked.returncode == 0
    again = serve(config(MASTER_KEY, allow=False))
    for text in (checked.stderr, again.log()):
        (line,) = naming(text)
        assert "intruder" in line
        assert nameless["token"][:12] in line
        assert not any(name in line for name in ("renewed", "blocked", "short", "good"))


def test_check_changes_no_database(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(standard_config(upstream.url)))
    assert command("check", "--config", str(path), folder=tmp_path).returncode == 0
    assert not list(tmp_path.glob("audio-proxy*"))
    with sqlite3.connect(tmp_path / "audio-proxy.db") as database:
        database.execute("CREATE TABLE audio_proxy_version (version_num TEXT)")
        database.execute("INSERT INTO audio_proxy_version VALUES ('0001')")
    assert command("check", "--config", str(path), folder=tmp_path).returncode == 0
    with sqlite3.connect(tmp_path / "audio-proxy.db") as database:
        assert database.execute("SELECT * FROM audio_proxy_version").fetchall() == [("0001",)]


def test_without_a_master_key_nobody_administers(upstream: Upstream, serve: Serve) -> None:
    config = standard_config(upstream.url)
    config["general_settings"] = {"allow_unauthenticated": True}
    server = serve(config)
    for method, path in [*ROUTES, ("GET", "/usage"), ("GET", "/usage/calls"), ("GET", "/key/info")]:
        for headers in ({}, bearer("sk-any")):
            error_of(httpx.request(method, server.url + path, headers=headers), 403, "permission_denied")
    assert httpx.post(server.url + SPEAK, json=HELLO).status_code == 200


# -- what a key may use ------------------------------------------------------------------------------------------------


def test_a_key_calls_only_its_models(server: Server, upstream: Upstream, admin: Any) -> None:
    key = made(admin, models=["tts", "whisper"])["key"]
    assert speak(server, key).status_code == 200
    hidden, unknown = speak(server, key, model="gpt-tts"), speak(server, key, model="nonsense")
    for reply in (hidden, unknown):
        error = error_of(reply, 404, "model_not_found")
        assert "'tts'" in error["message"]
        assert "'gpt-tts'." not in error["message"]
    files = {"file": ("a.wav", wav())}
    heard = httpx.post(server.url + LISTEN, data={"model": "whisper"}, files=files, headers=bearer(key))
    assert heard.status_code == 200
    refused = httpx.post(server.url + LISTEN, data={"model": "bare"}, files=files, headers=bearer(key))
    error_of(refused, 404, "model_not_found")
    assert {request.model for request in upstream.requests} == {"tts-1", "whisper-1"}


def test_a_key_sees_only_its_models(server: Server, admin: Any) -> None:
    key = bearer(made(admin, models=["tts", "selfhosted"])["key"])

    def get(path: str) -> Any:
        return httpx.get(server.url + path, headers=key).json()

    assert sorted(model["id"] for model in get("/v1/models")["data"]) == ["selfhosted", "tts"]
    assert [model["id"] for model in get("/audio/models")["models"]] == ["tts", "selfhosted"]
    assert get("/v1/models/tts")["id"] == "tts"
    assert get("/v1/models/gpt-tts")["error"]["code"] == "model_not_found"
    assert get("/audio/voices?model=gpt-tts")["error"]["code"] == "model_not_found"
    assert "am_adam" not in str(get("/audio/voices"))
    assert {voice["id"] for voice in get("/audio/voices")["voices"]} >= {"alloy"}


def test_an_alias_is_the_model_that_it_stands_for(server: Server, upstream: Upstream, admin: Any) -> None:
    by_alias, by_name = made(admin, models=["my-tts"])["key"], made(admin, models=["tts"])["key"]
    for key in (by_alias, by_name):
        assert [speak(server, key, model=model).status_code for model in ("tts", "my-tts", "gpt-tts")] == [
            200,
            200,
            404,
        ]


def test_a_fallback_stays_within_the_keys_models(server: Server, upstream: Upstream, admin: Any) -> None:
    everything, two, one = (
        made(admin)["key"],
        made(admin, models=["nowhere", "gpt-tts"])["key"],
        made(admin, models=["nowhere"])["key"],
    )
    assert speak(server, everything, model="nowhere").headers["x-proxy-fallback"] == "tts"
    assert speak(server, two, model="nowhere").headers["x-proxy-fallback"] == "gpt-tts"
    error_of(speak(server, one, model="nowhere"), 502)


def test_a_file_limit_is_that_of_the_callers_models(server: Server, upstream: Upstream, admin: Any) -> None:
    key = made(admin, models=["tiny"])["key"]
    files = [("file", ("a.wav", wav())), ("model", (None, "tiny"))]
    error_of(httpx.post(server.url + LISTEN, files=files, headers=bearer(key)), 413)


def test_public_lists_show_everything_to_strangers_and_its_own_to_a_key(upstream: Upstream, serve: Serve) -> None:
    server = serve(standard_config(upstream.url, public_catalog=True))
    made_key = httpx.post(server.url + "/key/generate", json={"models": ["tts"]}, headers=bearer(MASTER_KEY)).json()

    def count(headers: dict[str, str]) -> int:
        return len(httpx.get(server.url + "/v1/models", headers=headers).json()["data"])

    assert count({}) == count(bearer(MASTER_KEY)) > 10
    assert count(bearer(made_key["key"])) == 1
    httpx.post(server.url + "/key/block", json={"key": made_key["key"]}, headers=bearer(MASTER_KEY))
    error_of(httpx.get(server.url + "/v1/models", headers=bearer(made_key["key"])), 403)


def test_a_reload_keeps_keys_and_models_apart(upstream: Upstream, serve: Serve) -> None:
    server = serve(standard_config(upstream.url))
    key = httpx.post(server.url + "/key/generate", json={"models": ["tts"]}, headers=bearer(MASTER_KEY)).json()["key"]
    text = server.config_path.read_text()
    server.config_path.write_text(text.replace("model_name: gpt-tts", "model_name: other-tts"))
    limit = time.monotonic() + 15
    while b"other-tts" not in httpx.get(server.url + "/v1/models", headers=bearer(MASTER_KEY)).content:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert [speak(server, key, model=model).status_code for model in ("tts", "other-tts")] == [200, 404]


def test_the_vendors_key_is_no_key_here(server: Server, upstream: Upstream) -> None:
    error_of(speak(server, KEY), 401, "invalid_api_key")


def test_the_key_routes_are_described(admin: Any) -> None:
    paths = admin.get("/openapi.json").json()["paths"]
    for path in ("/key/generate", "/key/list", "/usage", "/usage/calls", "/end_users", "/end_users/block"):
        operation = next(iter(paths[path].values()))
        assert "422" not in operation["responses"]
    body = paths["/key/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"models", "duration", "key_alias"} <= body["properties"].keys()


def test_the_database_is_beside_the_configuration(server: Server) -> None:
    assert Path(server.config_path.parent / "audio-proxy.db").exists()
