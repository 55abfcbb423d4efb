"""The command line, the configuration as operators see it, and the server from start to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from proxy import cli
from proxy.commands import configuration
from tests.conftest import MASTER_KEY, Server, command, environment, group, standard_config, start
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION, FORM, JSON, Wire, file_part, form, text_part

SPEAK = "/v1/audio/speech"
HELLO = {"model": "tts", "input": "A secret sentence", "voice": "alloy"}
ASKS = {"authorization": AUTHORIZATION}

SEED = f"""\
model_list:
  - {{model_name: tts, litellm_params: {{model: openai/tts-1, api_key: os.environ/OPENAI_API_KEY}}}}
  - model_name: whisper
    litellm_params:
      model: whisper-1
      api_key: sk-seed-entry-key-0a1b2c
      max_file_size_mb: 0.00001
    model_info:
      mode: audio_transcription
general_settings:
  master_key: {MASTER_KEY}
"""


def check(text: str, folder: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    path = folder / "config.yaml"
    path.write_text(text)
    result = command("check", "--config", str(path), folder=folder, env=env)
    assert "Traceback" not in result.stdout + result.stderr
    return result.returncode, result.stdout + result.stderr


# -- check -------------------------------------------------------------------------------------------------------------


def test_check_prints_a_table_of_groups_and_deployments(tmp_path: Path) -> None:
    status, output = check(SEED, tmp_path, {"OPENAI_API_KEY": "sk-from-the-environment-77aa"})
    assert status == 0, output
    for word in ("tts", "tts-1", "whisper", "whisper-1", "openai", "audio_speech", "audio_transcription"):
        assert word in output
    for secret in ("sk-seed-entry", "sk-from-the", MASTER_KEY):
        assert secret not in output


def test_check_prints_every_problem_with_line_and_nearest_key(tmp_path: Path) -> None:
    text = f"""\
model_list:
  - model_name: tts
    litellm_params:
      model: openai/tts-1
      api_kee: sk-x
      api_key: os.environ/NO_SUCH_VARIABLE
      max_file_size_mb: many
  - model_nam: second
    litellm_params: {{model: openai/tts-1}}
general_settings:
  master_key: {MASTER_KEY}
  cors_origin: ["*"]
"""
    status, output = check(text, tmp_path)
    assert status == 2
    for line, words in {
        5: ["api_kee", "api_key"],
        6: ["NO_SUCH_VARIABLE"],
        7: ["max_file_size_mb"],
        8: ["model_nam", "model_name"],
        12: ["cors_origin", "cors_origins"],
    }.items():
        found = [row for row in output.splitlines() if f"config.yaml:{line}:" in row]
        assert found, f"nothing about line {line} in\n{output}"
        for word in words:
            assert word in " ".join(found), output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "model_list: {",
        "model_list:\n\t- x",
        "model_list: 5",
        "just text",
        "model_list:\n  - 5\n",
        "a: &a [*a]",
    ],
    ids=["empty", "list", "open", "tab", "number", "text", "entry", "recursive"],
)
def test_check_rejects_a_file_that_is_not_a_configuration(tmp_path: Path, text: str) -> None:
    status, output = check(text, tmp_path)
    assert status == 2
    assert "config.yaml" in output


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ("guardrail: custom, mode: pre_call, class: none.Such", "ModuleNotFoundError"),
        ("guardrail: custom, mode: pre_call, class: ours.Other", "the module has no Other"),
        ("guardrail: custom, mode: pre_call, class: ours.Sync", "must be a class with 'async def check"),
        ("guardrail: custom, mode: pre_call, class: ours.Guard, params: {x: 1}", "TypeError"),
    ],
)
def test_check_reports_mistakes_in_a_guardrail(tmp_path: Path, params: str, problem: str) -> None:
    (tmp_path / "ours.py").write_text(
        "class Sync:\n    def check(self, text, context): ...\n"
        "class Guard:\n    async def check(self, text, context): ...\n"
    )
    text = SEED + f"guardrails:\n  - guardrail_name: g\n    litellm_params: {{{params}}}\n"
    status, output = check(text, tmp_path, {"OPENAI_API_KEY": "sk-x"})
    assert status == 2
    assert "guardrail 'g': " in output
    assert problem in output
    assert re.search(r"config.yaml:\d+: guardrail", output)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            "patterns: ['(']",
            "'patterns' in litellm_params must be regular expressions in RE2's syntax: number 1",
        ),
        (
            "words: ['c++']",
            "an entry of 'words' in litellm_params must consist of letters, digits, spaces, hyphens and apos",
        ),
    ],
)
def test_check_reports_words_and_patterns_that_cannot_be_matched(tmp_path: Path, params: str, problem: str) -> None:
    settings = f"guardrail: blocked_words, mode: pre_call, {params}"
    text = SEED + f"guardrails:\n  - guardrail_name: g\n    litellm_params: {{{settings}}}\n"
    status, output = check(text, tmp_path)
    assert status == 2
    assert f"config.yaml:14: {problem}" in output


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            "guardrails:\n  - guardrail_name: pii\n    litellm_params: {guardrail: presidio, mode: pre_call}\n",
            "guardrail 'presidio'",
        ),
        (
            "litellm_settings:\n  callbacks: [custom_callbacks.proxy_handler_instance]\n",
            "callback 'custom_callbacks.proxy_handler_instance'",
        ),
    ],
    ids=["guardrail", "callback"],
)
def test_unknown_guardrails_and_callbacks_are_errors(tmp_path: Path, settings: str, problem: str) -> None:
    status, output = check(SEED + settings, tmp_path, {"OPENAI_API_KEY": "sk-x"})
    assert status == 2
    assert problem in output


def test_a_litellm_configuration_works_unchanged(upstream: Upstream, serve: Callable[..., Server]) -> None:
    text = f"""\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: os.environ/AZURE_API_BASE
      api_key: os.environ/AZURE_API_KEY
      rpm: 6
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4, api_key: os.environ/ANTHROPIC_API_KEY}}
  - model_name: tts
    litellm_params: {{model: openai/tts-1, api_key: {KEY}, api_base: "{upstream.url}"}}
litellm_settings: {{drop_params: true, set_verbose: false, num_retries: 0}}
general_settings: {{master_key: {MASTER_KEY}, store_model_in_db: false}}
"""
    server = serve(text)
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=ASKS).content == SPEECH["mp3"]
    lines = server.log().splitlines()
    assert [line for line in lines if "gpt-4o" in line and "claude" in line], server.log()
    listed = httpx.get(server.url + "/v1/models", headers=ASKS).json()["data"]
    assert [model["id"] for model in listed] == ["tts"]


def test_params_is_short_for_litellm_params_and_environment_variables_are_set(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    text = f"""\
model_list:
  - model_name: tts
    params: {{model: openai/tts-1, api_key: os.environ/FROM_FILE, api_base: "{upstream.url}"}}
environment_variables: {{FROM_FILE: {KEY}}}
general_settings: {{master_key: os.environ/PROXY_MASTER_KEY}}
"""
    server = serve(text, env={"PROXY_MASTER_KEY": MASTER_KEY})
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=ASKS).content == SPEECH["mp3"]
    assert upstream.last.header("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("command_", ["serve", "check"])
def test_misspelt_vendors_are_errors_with_the_nearest_name(tmp_path: Path, command_: str) -> None:
    (tmp_path / "config.yaml").write_text(
        f"""\
model_list:
  - {{model_name: a, litellm_params: {{model: opneai/whisper-1, api_key: sk-x}}}}
  - {{model_name: b, litellm_params: {{model: elevenlab/x, api_key: sk-x}}}}
  - {{model_name: c, litellm_params: {{model: hosted-vllm/kokoro, api_base: "http://gpu:8000/v1"}}}}
  - {{model_name: d, litellm_params: {{model: org/kokoro, api_base: "http://gpu:8000/v1"}}}}
general_settings: {{master_key: {MASTER_KEY}}}
"""
    )
    result = command(command_, folder=tmp_path)
    assert result.returncode == 2
    named = re.findall(
        r"^config.yaml:(\d): unknown vendor '(.+?)'; did you mean '(.+?)'\?", result.stderr, re.MULTILINE
    )
    assert named == [
        ("2", "opneai", "openai"),
        ("3", "elevenlab", "elevenlabs"),
        ("4", "hosted-vllm", "hosted_vllm"),
    ]
    assert len(result.stderr.splitlines()) == 3


# -- refusing to start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["", "--port 0", "serve", "check", "keys list", "keys create", "usage"])
def test_an_empty_folder_is_told_how_to_begin(tmp_path: Path, words: str) -> None:
    result = command(*words.split(), folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("config.yaml: no such file. Set --config or $AUDIO_PROXY_CONFIG")
    assert re.findall(r"^  audio-proxy (\w+)  ", result.stderr, re.MULTILINE) == ["init", "demo"]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    for arguments, env in ((["--config", "a b.yaml"], {}), ([], {"AUDIO_PROXY_CONFIG": "a b.yaml"})):
        result = command(*arguments, "--port", "0", folder=tmp_path, env=env)
        assert result.returncode == 2
        assert result.stderr.startswith("a b.yaml: no such file.")
        assert "audio-proxy init --config 'a b.yaml'" in result.stderr
        assert ("$AUDIO_PROXY_CONFIG names it" in result.stderr) is bool(env)
    (tmp_path / "config.yml").touch()
    assert "no such file; did you mean 'config.yml'?" in command("check", folder=tmp_path).stderr
    (tmp_path / "file").touch()
    assert command("--config", "file/config.yaml", folder=tmp_path).stderr.startswith("file/config.yaml: no such file")


@pytest.mark.parametrize(
    ("words", "both"),
    [
        *((words, False) for words in (
            "--help", "usage --help", "--version", "check", "check --config none.yaml", "prices", "keys list",
            "keys list --json", "keys create", "keys revoke one", "usage", "usage --format csv",
        )),
        ("check", True), ("check --config none.yaml", True), ("keys create", True), ("usage", True),
    ],
)  # fmt: skip
def test_a_reader_that_ends_early_is_no_error(tmp_path: Path, words: str, both: bool) -> None:
    """As with ``| head -1``: nothing is written to standard error, and nothing is reported by Python."""
    (tmp_path / "config.yaml").write_text(SEED)
    env = {"OPENAI_API_KEY": "sk-x"}
    if words == "keys revoke one":
        command("keys", "create", "--alias", "one", folder=tmp_path, env=env)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *words.split()],
            env=environment(tmp_path, env),
            cwd=tmp_path,
            stdout=gone,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode in (0, 2, 141)
    said = [] if both else [line for line in done.stderr.splitlines() if not line.startswith(("Database: ", "none."))]
    assert [line for line in said if not re.match("  audio-proxy (init|demo) |Store the key", line)] == []


def test_without_a_master_key_it_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        f"model_list: [{{model_name: tts, params: {{model: tts-1, api_key: {KEY}}}}}]"
    )
    result = command("--port", "0", "--host", "127.0.0.1", folder=tmp_path)
    assert result.returncode == 2
    output = result.stdout + result.stderr
    assert "master_key" in output
    assert "PROXY_MASTER_KEY" in output
    assert "allow_unauthenticated" in output
    assert KEY not in output


@pytest.mark.parametrize("variable", ["PROXY_MASTER_KEY", "LITELLM_MASTER_KEY"])
def test_the_master_key_from_the_environment(upstream: Upstream, serve: Callable[..., Server], variable: str) -> None:
    config = {"model_list": [group("tts", "openai/tts-1", upstream.url)]}
    server = serve(config, env={variable: MASTER_KEY})
    assert httpx.get(server.url + "/v1/models", headers=ASKS).status_code == 200
    error_of(httpx.get(server.url + "/v1/models"), 401)


def test_a_weak_key_starts_with_a_warning(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = {
        "model_list": [group("tts", "openai/tts-1", upstream.url)],
        "general_settings": {"master_key": "sk-1234"},
    }
    server = serve(config)
    assert httpx.get(server.url + "/v1/models", headers={"authorization": "Bearer sk-1234"}).status_code == 200
    assert re.search("weak|guess", server.log())
    assert "sk-1234" not in server.log()


def test_a_taken_port_is_reported_without_a_traceback(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "config.yaml").write_text(SEED)
    result = command(
        "--host", "127.0.0.1", "--port", str(upstream.port), folder=tmp_path, env={"OPENAI_API_KEY": "sk-x"}
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert f"127.0.0.1:{upstream.port}: Address already in use; choose another port with --port" in result.stderr
    assert "RUNNING" not in result.stdout


@pytest.mark.parametrize("port", ["70000", "65536", "-1", "http", "4000.0", ""])
def test_an_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    (tmp_path / "config.yaml").write_text(SEED)
    result = command("--host", "127.0.0.1", f"--port={port}", folder=tmp_path, env={"OPENAI_API_KEY": "sk-x"})
    assert result.returncode == 2
    assert "argument --port: must be a number from 0 to 65535" in result.stderr
    assert "RUNNING" not in result.stdout
    assert "Traceback" not in result.stderr


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SEED)
    result = command("--port", "0", "--ssl-keyfile", "key.pem", folder=tmp_path, env={"OPENAI_API_KEY": "sk-x"})
    assert result.returncode == 2
    assert "--ssl-certfile" in result.stderr
    assert "RUNNING" not in result.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("certificate", "key", "named"),
    [
        ("none.pem", None, "none.pem"),
        ("chain.pem", "none.pem", "none.pem"),
        ("folder", "key.pem", "folder"),
        ("config.yaml", "key.pem", "config.yaml"),
        ("chain.pem", "config.yaml", "config.yaml"),
        ("chain.pem", "other.pem", "other.pem"),
        ("chain.pem", None, "chain.pem"),
        ("chain.pem", "encrypted.pem", "encrypted.pem"),
    ],
)
def test_an_unusable_certificate_is_reported_without_a_traceback(
    tmp_path: Path, certificate: str, key: str | None, named: str, workers: str
) -> None:
    (tmp_path / "config.yaml").write_text(SEED)
    (tmp_path / "folder").mkdir()
    authority = trustme.CA()
    mine, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "encrypted.pem").write_bytes(_encrypted(mine.private_key_pem.bytes()))
    args = ["--host", "127.0.0.1", "--port", "0", "--workers", workers, "--ssl-certfile", certificate]
    args += ["--ssl-keyfile", key] if key else []
    result = command(*args, folder=tmp_path, env={"OPENAI_API_KEY": "sk-x"})
    assert result.returncode == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert "RUNNING" not in result.stdout


def _encrypted(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )


def test_version_and_help(tmp_path: Path) -> None:
    assert command("--help", folder=tmp_path).returncode == 0
    printed = command("serve", "--help", folder=tmp_path).stdout
    for option in (
        "--config",
        "--host",
        "--port",
        "--workers",
        "--ssl-certfile",
        "--root-path",
        "--forwarded-allow-ips",
    ):
        assert option in printed
    assert command("no-such-command", folder=tmp_path).returncode == 2


# -- the RUNNING line --------------------------------------------------------------------------------------------------


def test_running_is_printed_once_on_stdout(proxy: Server) -> None:
    assert re.findall(r"^RUNNING on http://127\.0\.0\.1:\d+$", proxy.stdout(), re.MULTILINE) == [
        f"RUNNING on {proxy.url}"
    ]


@pytest.mark.parametrize("broken", ["stdout", "stderr"])
def test_it_serves_although_its_output_is_not_read(tmp_path: Path, upstream: Upstream, broken: str) -> None:
    """The reader of a pipe may have died, or the disk may be full."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "config.yaml").write_text(json.dumps(standard_config(upstream.url, master_key="sk-1234")))
    reading, writing = os.pipe()
    os.close(reading)
    outputs: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, broken: writing}
    words = [sys.executable, "-m", "proxy", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(words, cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.DEVNULL, **outputs)
    os.close(writing)
    try:
        url = f"http://127.0.0.1:{port}"
        _until(lambda: server.poll() is not None or _accepts(url), "the server", 30)
        for _ in range(2):
            reply = httpx.post(url + SPEAK, json=HELLO, headers={"authorization": "Bearer sk-1234"})
            assert reply.content == SPEECH["mp3"]
        server.terminate()
        assert server.wait(40) == 0 or broken == "stderr"
    finally:
        server.kill()
        server.wait()


def test_ctrl_c_during_startup_prints_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SEED)
    monkeypatch.setattr(configuration, "load", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["--config", str(tmp_path / "config.yaml")]) == 130


@pytest.mark.parametrize("words", [[], ["serve"]])
def test_the_configuration_named_by_the_environment_and_the_default_file(
    tmp_path: Path, upstream: Upstream, words: list[str]
) -> None:
    """``$AUDIO_PROXY_CONFIG``, else ``./config.yaml``."""
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(json.dumps(standard_config(upstream.url)))
    if words:
        (tmp_path / "config.yaml").write_text(elsewhere.read_text())
    line = [sys.executable, "-m", "proxy", *words, "--host", "127.0.0.1", "--port", "0"]
    server = start(line, tmp_path, env={} if words else {"AUDIO_PROXY_CONFIG": str(elsewhere)}, cwd=tmp_path)
    try:
        assert httpx.get(server.url + "/v1/models", headers=ASKS).status_code == 200
    finally:
        assert server.stop() == 0


def test_ipv6(upstream: Upstream, serve: Callable[..., Server]) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = serve(standard_config(upstream.url), host="::1")
    assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=ASKS).content == SPEECH["mp3"]


def secured(folder: Path) -> tuple[list[str], ssl.SSLContext]:
    """Arguments for a server with TLS, and a context in which a client trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "chain.pem", append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return ["--ssl-certfile", str(folder / "chain.pem"), "--ssl-keyfile", str(folder / "key.pem")], context


def test_tls(upstream: Upstream, serve: Callable[..., Server], tmp_path: Path) -> None:
    args, context = secured(tmp_path)
    server = serve(standard_config(upstream.url), args=args)
    assert server.url.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=server.url, verify=context, headers=ASKS) as client:
        assert client.post(SPEAK, json=HELLO).content == SPEECH["mp3"]
        files = {"file": ("a.wav", wav() * 200)}
        assert client.post("/v1/audio/transcriptions", data={"model": "whisper"}, files=files).status_code == 200


def test_root_path_behind_a_reverse_proxy_that_strips_it(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), args=["--root-path", "/audio-proxy"])
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=ASKS).content == SPEECH["mp3"]
    described = httpx.get(server.url + "/openapi.json", headers=ASKS).json()
    assert [one["url"] for one in described["servers"]] == ["/audio-proxy"]


@pytest.mark.parametrize("root_path", ["/audio-proxy/", "/audio-proxy"])
def test_root_path_behind_a_reverse_proxy_that_keeps_it(
    upstream: Upstream, serve: Callable[..., Server], root_path: str
) -> None:
    server = serve(standard_config(upstream.url), args=["--root-path", root_path])
    for path in ("/audio-proxy" + SPEAK, SPEAK):
        assert httpx.post(server.url + path, json=HELLO, headers=ASKS).content == SPEECH["mp3"]
    described = httpx.get(server.url + "/audio-proxy/openapi.json", headers=ASKS).json()
    assert [one["url"] for one in described["servers"]] == ["/audio-proxy"]


@pytest.mark.parametrize("root_path", ["audio-proxy", "https://example.com/audio", "/pröxy", "/a//b", "/a?b"])
def test_an_invalid_root_path_is_refused(tmp_path: Path, root_path: str) -> None:
    result = command("serve", "--root-path", root_path, folder=tmp_path)
    assert result.returncode == 2
    assert "must be a path that begins with /" in result.stderr
    assert "Traceback" not in result.stderr


def test_two_workers(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), workers=2)
    assert server.stdout().count("RUNNING on") == 1
    for _ in range(8):  # a new connection each time, so that either worker may accept it
        assert httpx.post(server.url + SPEAK, json=HELLO, headers=ASKS).content == SPEECH["mp3"]
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate)
    gate.release()
    with httpx.stream("POST", server.url + SPEAK, json=HELLO, headers=ASKS) as reply:
        arriving = reply.iter_raw()
        received = next(arriving)
        server.terminate()
        _until(lambda: not _accepts(server.url), "no new connections")
        gate.open()
        received += b"".join(arriving)
    assert received == SPEECH["mp3"]
    assert server.stop() == 0, server.log()


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_after_sigterm_readiness_is_503_and_the_running_stream_finishes(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url, drain_delay=1.0))
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate)
    gate.release()
    assert httpx.get(server.url + "/health/readiness").status_code == 200
    with (
        httpx.Client(headers=ASKS, timeout=20) as client,
        client.stream("POST", server.url + SPEAK, json=HELLO) as reply,
    ):
        arriving = reply.iter_raw()
        received = next(arriving)
        server.terminate()
        _until(lambda: httpx.get(server.url + "/health/readiness").status_code == 503, "readiness 503")
        assert httpx.get(server.url + "/health/liveliness").status_code == 200
        assert httpx.get(server.url + "/v1/models", headers=ASKS).status_code == 200  # still serves within drain_delay
        _until(lambda: not _accepts(server.url), "no new connections")
        assert server.process.poll() is None
        gate.open()
        received += b"".join(arriving)
    assert received == SPEECH["mp3"]
    assert server.stop() == 0


def _accepts(url: str) -> bool:
    try:
        return httpx.get(url + "/health/liveliness", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


def _until(condition: Callable[[], Any], what: str, seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"timed out waiting for {what}"
        time.sleep(0.02)


def test_shutdown_timeout_cuts_a_stream_that_does_not_end(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=0.5))
    upstream.behave("tts-1", stop_after=2, stop="hang")
    body = json.dumps(HELLO).encode()
    with Wire(server.port) as wire:
        wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
        wire.send(body)
        response = wire.begin()
        assert response.read(10)
        assert server.stop() == 0, server.log()
    upstream.last.wait_closed()
    assert "Traceback" not in server.log()


def test_after_shutdown_timeout_calls_without_a_response_get_a_503(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=0.5))
    upstream.behave("tts-1", stop_after=-1, stop="hang")
    body = json.dumps(HELLO).encode()
    with Wire(server.port) as sends, Wire(server.port) as begins, Wire(server.port) as deadlines:
        sends.head("POST", "/v1/audio/transcriptions", {**FORM, "Content-Length": "100000"})
        sends.send(form(text_part("model", "whisper"), file_part(wav()))[:100])
        begins.head("POST", SPEAK, {**JSON, "Content-Length": "100"})
        deadlines.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
        deadlines.send(body)
        upstream.wait_requests()
        server.terminate()
        for wire in (sends, begins, deadlines):
            reply = wire.reply()
            error = error_of(reply, 503)
            assert "shutting down" in error["message"]
            assert reply.headers["retry-after"] == "1"
            assert '"shutdown"' in server.log_lines(reply.headers["x-request-id"])[0]
        assert server.stop() == 0, server.log()
    upstream.last.wait_closed()
    assert "Traceback" not in server.log()


def test_sigint_stops_it_as_well(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url))
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) in {0, 130, -signal.SIGINT}
    assert "Traceback" not in server.log()
    server.process.returncode = 0


#: Seconds; a stop that waits for a connection in vain takes as long.
SHUTDOWN_TIMEOUT = 25


def test_an_idle_keep_alive_connection_does_not_delay_the_stop(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=SHUTDOWN_TIMEOUT))
    with Wire(server.port) as wire:
        assert wire.post(SPEAK, json.dumps(HELLO).encode(), JSON).status_code == 200
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < SHUTDOWN_TIMEOUT / 2


def test_a_clients_idle_tls_connection_does_not_delay_the_stop(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    """A connection pool only looks at a connection when it needs one, so it does not answer the end of TLS."""
    args, context = secured(tmp_path)
    server = serve(standard_config(upstream.url, shutdown_timeout=SHUTDOWN_TIMEOUT), args=args)
    with httpx.Client(base_url=server.url, verify=context, headers=ASKS) as client:
        assert client.post(SPEAK, json=HELLO).status_code == 200
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < SHUTDOWN_TIMEOUT / 2


# -- the log -----------------------------------------------------------------------------------------------------------


def test_one_structured_log_line_per_call_without_content_or_secrets(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url))
    spoken = httpx.post(server.url + SPEAK, json=HELLO | {"user": "u-77"}, headers=ASKS)
    files = {"file": ("private-name.wav", wav())}
    heard = httpx.post(server.url + "/v1/audio/transcriptions", data={"model": "whisper"}, files=files, headers=ASKS)
    missing = httpx.post(server.url + SPEAK, json=HELLO | {"model": "none"}, headers=ASKS)
    for reply, model in ((spoken, "tts"), (heard, "whisper"), (missing, None)):
        lines = server.log_lines(reply.headers["x-request-id"])
        assert len(lines) == 1, lines
        record = json.loads(lines[0])
        assert str(reply.status_code) in lines[0]
        assert model is None or model in json.dumps(record)
    output = server.log()
    for secret in ("A secret sentence", "private-name", "quick brown fox", KEY, MASTER_KEY, "Bearer"):
        assert secret not in output
    assert "Traceback" not in output


def test_a_call_that_fails_is_logged_once_with_its_kind(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    reply = http.post(SPEAK, json=HELLO | {"model": "nowhere"})
    lines = proxy.log_lines(reply.headers["x-request-id"])
    assert len(lines) == 1
    assert "upstream_unreachable" in lines[0]
    assert "nowhere" in lines[0]


def test_many_calls_at_once(upstream: Upstream, proxy: Server) -> None:
    wrong: list[str] = []

    def call() -> None:
        with httpx.Client(base_url=proxy.url, headers=ASKS, timeout=30) as client:
            for _ in range(10):
                reply = client.post(SPEAK, json=HELLO)
                if reply.content != SPEECH["mp3"]:
                    wrong.append(reply.text)

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(upstream.requests) == 160
    assert upstream.connections <= 32  # upstream connections are kept and used again


def test_check_reports_fallbacks_and_aliases_to_unknown_models(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list:\n"
        "  - {model_name: tts, litellm_params: {model: openai/tts-1, api_key: sk-x}}\n"
        "  - {model_name: chat, litellm_params: {model: openai/gpt-4o, api_key: sk-x}}\n"
        "general_settings: {master_key: sk-test-7f3a9c21d4e8b605c0ffee}\n"
        "router_settings:\n"
        "  fallbacks: [{tts: [tts-backup]}, {chat: [chat]}]\n"
        "  default_fallbacks: [ttss]\n"
        "  model_group_alias: {one: tts, two: one, three: wun}\n"
    )
    result = command("check", "--config", str(path), folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"{path}:6: fallbacks names 'tts-backup', which is no model_name",
        f"{path}:7: default_fallbacks names 'ttss', which is no model_name; did you mean 'tts'?",
        f"{path}:8: model_group_alias names 'one', which is itself an alias; name the group",
        f"{path}:8: model_group_alias names 'wun', which is no model_name",
    ]


def test_ctrl_c_with_workers_lets_running_streams_finish(upstream: Upstream, serve: Callable[..., Server]) -> None:
    """A terminal sends SIGINT to all processes, and the supervisor also sends SIGTERM to its workers."""
    server = serve(standard_config(upstream.url), workers=2)
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate, chunk_size=64)
    gate.release()
    with httpx.stream("POST", server.url + SPEAK, json=HELLO, headers=ASKS) as response:
        chunks = response.iter_raw()
        begun = next(chunks)
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        for pid in (*map(int, children), server.process.pid):
            os.kill(pid, signal.SIGINT)
        time.sleep(0.5)  # for both signals to arrive
        gate.open()
        assert begun + b"".join(chunks) == SPEECH["mp3"]
    assert server.process.wait(20) == 0, server.log()
