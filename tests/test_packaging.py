"""What is shipped around the package: its metadata, the gates, the image, and the examples of the deployment guide."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from proxy.config import GeneralSettings
from proxy.config.environment import ENV_FILE
from proxy.config.models import DATA_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
START = "pip install '.[local]' && audio-proxy --config config.example.yaml"
TEST = "pip install '.[dev]' && pytest"
#: Imported straight, and by nature there when the declared package is.
BROUGHT_BY = {"starlette": "fastapi", "pydantic_core": "pydantic"}
MODULE_OF = {"prometheus-client": "prometheus_client", "python-multipart": "python_multipart", "pyyaml": "yaml"} | {
    "espeakng-loader": "espeakng_loader",
    "google-re2": "re2",
    "opentelemetry-proto": "opentelemetry",
    "phonenumberslite": "phonenumbers",
}
#: Folders that may use what an extra brings.
EXTRAS = {"engines": ("local",), "sinks": ("otel", "s3")}


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# -- the package -------------------------------------------------------------------------------------------------------


def test_every_file_that_pyproject_names_exists() -> None:
    named = [PROJECT["readme"], *PROJECT["license-files"]]
    targets = PYPROJECT["tool"]["hatch"]["build"]["targets"]
    named += targets["wheel"]["packages"] + targets["sdist"]["include"]
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_the_source_distribution_has_what_its_tests_read() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    read = ["README.md", "CONTRIBUTING.md", "Dockerfile", ".dockerignore", ".ci", ".github", "deploy", "docs", "tests"]
    assert [name for name in read if not any(fnmatch(name, pattern) for pattern in included)] == []


def test_the_command_is_the_one_that_pyproject_names() -> None:
    module, _, function = PROJECT["scripts"]["audio-proxy"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_import_is_of_a_declared_package() -> None:
    declared = {_module(line) for line in PROJECT["dependencies"]}
    missing = set()
    for path in (ROOT / "proxy").rglob("*.py"):
        extras = [extra for folder in path.parts for extra in EXTRAS.get(folder, ())]
        allowed = declared | {_module(line) for extra in extras for line in PROJECT["optional-dependencies"][extra]}
        for name in _imports(path):
            if name not in sys.stdlib_module_names and name != "proxy" and BROUGHT_BY.get(name, name) not in allowed:
                missing.add((str(path.relative_to(ROOT)), name))
    assert missing == set()


def test_no_private_part_of_another_package_is_used() -> None:
    """One that changes without notice would break the versions that pyproject.toml allows."""
    used = [(str(path.relative_to(ROOT)), name) for path in (ROOT / "proxy").rglob("*.py") for name in _private(path)]
    assert used == []


def _private(path: Path) -> Iterator[str]:
    """Imports of names that begin with an underscore, and uses of such attributes of imported modules."""
    tree, modules = ast.parse(path.read_text(encoding="utf-8")), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            modules |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] != "proxy":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if re.search(r"(^|\.)_(?!_)", name))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in modules:
                if re.match("_(?!_)", attribute):
                    yield f"{name}.{attribute}"


def _module(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return MODULE_OF.get(match[0], match[0])


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_gpl_engine_is_no_base_dependency() -> None:
    assert not [line for line in PROJECT["dependencies"] if "espeak" in line]
    assert [line for line in PROJECT["optional-dependencies"]["local"] if "espeak" in line]


def test_what_is_installed_holds_every_file_of_the_package() -> None:
    """A wheel that left out ``py.typed`` or a child program would pass every test that runs in the checkout."""
    try:
        installed = importlib.metadata.distribution("audio-proxy")
    except importlib.metadata.PackageNotFoundError:
        _skip_outside_ci("audio-proxy is not installed, only checked out")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        _skip_outside_ci("audio-proxy is installed in editable mode")
    held = {str(file) for file in installed.files or ()}
    sources = [path for path in (ROOT / "proxy").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert (ROOT / "proxy" / "py.typed") in sources
    assert sorted(str(path.relative_to(ROOT)) for path in sources if str(path.relative_to(ROOT)) not in held) == []


def _skip_outside_ci(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# -- the gates ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """``.ci/readme.py`` as a module."""
    spec = importlib.util.spec_from_file_location("ci_readme", ROOT / ".ci" / "readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_readme"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", [".ci/run", ".ci/image", ".ci/coverage", ".ci/floors", ".ci/lock"])
def test_the_scripts_can_be_started(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run([shutil.which("bash") or "bash", "-n", str(ROOT / script)], check=True)


def test_the_readme_prints_the_two_commands() -> None:
    lines = text("README.md").splitlines()
    assert START in lines
    assert [line for line in lines if line.endswith(" && pytest")] == [TEST], ".ci/run takes its command from there"


def test_the_pages_mark_what_ci_runs(runner: ModuleType) -> None:
    pages = "\n".join(map(text, runner.PAGES))
    found = {block.name: block.text.splitlines() for block in runner.blocks(pages)}
    assert START in found["serve"]
    assert TEST in found["tests"]
    assert set(found) == {"serve", "curl", "python", "node", "sdk", "tests"}


@pytest.mark.parametrize("gate", ["ruff check", "ruff format --check", "mypy", "lint-imports"])
def test_ci_runs_every_gate_that_contributors_are_told(gate: str) -> None:
    assert gate in [line.strip() for line in text(".ci/run").splitlines()]
    assert f"`{gate}`" in text("CONTRIBUTING.md")


def test_the_workflow_calls_the_script_on_every_declared_python() -> None:
    job = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["gates"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    declared = re.findall(r":: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert job["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


@pytest.mark.parametrize(
    ("markdown", "reason"),
    [
        ("<!-- run: curl -->\n```sh\ntrue\n```\n", "named serve"),
        ("<!-- run: serve -->\n```sh\ntrue\n```\n<!-- run: curl -->\ntext\n", "not followed by a code block"),
        ("<!-- run: serve -->\n```\ntrue\n```\n", "not followed by a code block"),
        ("<!-- run: serve -->\n```cobol\ntrue\n```\n", "of cobol"),
        ("<!-- run: serve -->\n```sh\ntrue\n```\n<!-- run: python -->\n```python\n1\n```\n", "pip install openai"),
    ],
)
def test_marks_that_are_not_understood_are_no_silent_pass(runner: ModuleType, markdown: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        runner.blocks(markdown)


@pytest.mark.parametrize("block", ["true", "echo '{\"error\":{}}'"])
def test_the_runner_takes_no_error_for_an_answer(runner: ModuleType, block: str, tmp_path: Path) -> None:
    runner.run(runner.Block("curl", "sh", "echo well"), tmp_path)
    with pytest.raises(RuntimeError, match="an error, or nothing"):
        runner.run(runner.Block("curl", "sh", block), tmp_path)


def test_the_runner_ends_the_server_and_what_it_started(runner: ModuleType, tmp_path: Path) -> None:
    block = runner.Block("serve", "sh", "sleep 600 & echo $! > child; echo RUNNING on http://0.0.0.0:1; wait")
    with runner.serving(block, tmp_path, tmp_path / "log"):
        child = int((tmp_path / "child").read_text())
        os.kill(child, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_runner_tells_of_a_server_that_does_not_start(runner: ModuleType, tmp_path: Path) -> None:
    block = runner.Block("serve", "sh", "echo no such thing; exit 3")
    with pytest.raises(RuntimeError, match="exit status 3"), runner.serving(block, tmp_path, tmp_path / "log"):
        pytest.fail("it runs")


# -- the image ---------------------------------------------------------------------------------------------------------


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, continued lines joined."""
    kept = "\n".join(line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", kept).splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    return instructions(text("Dockerfile"))


@pytest.fixture(scope="module")
def image(dockerfile: list[tuple[str, str]]) -> dict[str, str]:
    """The last stage's instructions; the last one of each name counts."""
    last = max(number for number, (name, _) in enumerate(dockerfile) if name == "FROM")
    return dict(dockerfile[last:])


def test_the_image_is_not_root_and_knows_its_command(image: Mapping[str, str]) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image["USER"])
    assert json.loads(image["ENTRYPOINT"]) == ["audio-proxy"]
    assert json.loads(image["CMD"]) == ["--config", "/app/config.yaml"]
    assert (image["EXPOSE"], image["STOPSIGNAL"]) == ("4000", "SIGTERM")


def test_any_user_of_group_0_can_write_the_images_data(
    dockerfile: list[tuple[str, str]], image: Mapping[str, str]
) -> None:
    """OpenShift runs images as a user of its own choice."""
    made = re.search(r"install --directory --owner=(\d+) --group=(\d+) --mode=(\d+) /data$", image["RUN"])
    assert made
    assert made.groups() == (image["USER"].partition(":")[0], "0", "0770")
    variables = dict(re.findall(r"(\w+)=(\S+)", image["ENV"]))
    assert variables["AUDIO_PROXY_DATA"] == image["VOLUME"] == "/data"
    assert variables["AUDIO_PROXY_CONFIG"] == json.loads(image["CMD"])[1]


def test_systemd_gives_the_service_the_variables_that_commands_read() -> None:
    guide = text("docs/deployment.md")
    unit = re.search(r"^```ini\n(.+?)^```", guide, re.MULTILINE | re.DOTALL)
    assert unit
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit[1], re.MULTILINE))
    env_file, config = Path(settings["EnvironmentFile"]), Path(settings["ExecStart"].split()[2])
    assert (env_file.name, env_file.parent) == (ENV_FILE, config.parent)
    assert f"{DATA_VARIABLE}=/var/lib/{settings['StateDirectory']}\n" in guide
    assert "Environment" not in settings


def test_the_image_has_no_local_engine_by_default(dockerfile: list[tuple[str, str]]) -> None:
    assert [rest for name, rest in dockerfile if name == "ARG" and rest.startswith("EXTRAS")] == ['EXTRAS=""']
    runs = " ".join(rest for name, rest in dockerfile if name == "RUN")
    assert "${EXTRAS:+[${EXTRAS}]}" in runs
    assert not re.search(r"espeak|\[local\]|apt-get", runs)


def test_the_build_context_holds_what_the_image_copies(dockerfile: list[tuple[str, str]]) -> None:
    kept = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    copied = {
        source
        for name, rest in dockerfile
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == kept
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "proxy", LOCK} == copied


LOCK = "deploy/requirements.lock"


@pytest.fixture(scope="module")
def locked() -> dict[str, tuple[Requirement, int]]:
    """By name: the pinned requirement, and how many hashes it has."""
    pins = re.findall(r"^([a-z0-9-]+==[^\\\n]+) ((?:\\\n +--hash=sha256:[0-9a-f]{64} ?)+)$", text(LOCK), re.MULTILINE)
    requirements = [(Requirement(line), hashes.count("--hash")) for line, hashes in pins]
    return {requirement.name: (requirement, count) for requirement, count in requirements}


def test_every_line_of_the_lock_is_a_version_with_hashes(locked: Mapping[str, tuple[Requirement, int]]) -> None:
    lines = [line for line in text(LOCK).splitlines() if not line.startswith((" ", "#"))]
    assert len(lines) == len(locked)
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin, _ in locked.values())


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_lock_is_what_pyproject_asks_for(
    locked: Mapping[str, tuple[Requirement, int]], machine: str, dockerfile: list[tuple[str, str]]
) -> None:
    """If this fails, run `.ci/lock`."""
    version = next(rest for name, rest in dockerfile if rest.startswith("PYTHON_VERSION=")).partition("=")[2]
    there = {
        "python_version": version, "python_full_version": f"{version}.0", "platform_machine": machine,
        "sys_platform": "linux", "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    asked = [*PYPROJECT["build-system"]["requires"], *PROJECT["dependencies"]]
    asked += (line for extra in ("local", "otel", "s3") for line in PROJECT["optional-dependencies"][extra])
    for requirement in map(Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate(there):
            pin, _ = locked[requirement.name]
            assert pin.marker is None or pin.marker.evaluate(there), requirement
            assert requirement.specifier.contains(str(pin.specifier).removeprefix("==")), (requirement, pin)


def test_the_image_installs_nothing_that_is_not_locked(dockerfile: list[tuple[str, str]]) -> None:
    run = next(rest for name, rest in dockerfile if name == "RUN" and "pip" in rest)
    commands = [part for part in run.split("&&") if re.search(r"pip .*(download|install|wheel) ", part)]
    assert len(commands) == 4
    assert all("--require-hashes" in command or "--no-index" in command for command in commands)


@pytest.mark.parametrize(("answer", "well"), [(200, True), (503, False), (None, False)])
def test_the_health_check(image: Mapping[str, str], answer: int | None, well: bool) -> None:
    command = json.loads(image["HEALTHCHECK"].partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert command[2].count("4000") == 1
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(answer or 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_port if answer else 1
        done = subprocess.run([sys.executable, "-c", command[2].replace("4000", str(port))], check=False)
    assert (done.returncode == 0) is well
    assert asked == (["/health/liveliness"] if answer else [])


# -- Compose -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text("deploy/docker-compose.yaml"))
    return document


def test_compose_mounts_the_configuration_and_gives_nothing_away(compose: Mapping[str, Any]) -> None:
    service = compose["services"]["audio-proxy"]
    mounts = {mount["target"]: mount["read_only"] for mount in service["volumes"]}
    assert mounts == {"/app/config.yaml": True, "/data": False}
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [entry.partition(":")[0] for entry in service["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (ROOT / "deploy" / service["build"]["context"] / "Dockerfile").resolve() == ROOT / "Dockerfile"


def test_compose_asks_for_health_as_the_image_does(compose: Mapping[str, Any], image: Mapping[str, str]) -> None:
    check = compose["services"]["audio-proxy"]["healthcheck"]["test"]
    assert check == ["CMD", *json.loads(image["HEALTHCHECK"].partition("CMD ")[2])]


def test_the_alternative_in_composes_comments_is_yaml() -> None:
    bare = re.sub(r"^  # (?=( *- |[a-z]+:|  ))|^# (?=volumes:|  )", "", text("deploy/docker-compose.yaml"), flags=re.M)
    indented = re.search(r"^kokoro:.*?(?=^volumes:)", bare, re.DOTALL | re.MULTILINE)
    assert indented
    services = yaml.safe_load(re.sub(r"^  #$", "", indented[0], flags=re.MULTILINE))
    assert set(services) == {"kokoro", "speaches"}
    assert all(service["image"] for service in services.values())


# -- how long a stop may take ------------------------------------------------------------------------------------------


def test_whoever_stops_the_server_waits_until_it_has_drained(compose: Mapping[str, Any]) -> None:
    default = GeneralSettings()
    drained = default.drain_delay + default.shutdown_timeout
    guide = text("docs/deployment.md")
    unit = re.search(r"^TimeoutStopSec=(\d+)$", guide, re.MULTILINE)
    docker = re.search(r"--stop-timeout (\d+)", guide)
    assert unit
    assert docker
    assert int(unit[1]) > drained
    assert int(docker[1]) > drained
    assert int(compose["services"]["audio-proxy"]["stop_grace_period"].removesuffix("s")) > drained

    documents = [yaml.safe_load(block) for block in blocks("yaml", ROOT / "docs" / "deployment.md")]
    pod = next(one["spec"]["template"]["spec"] for one in documents if one.get("kind") == "Deployment")
    general = next(one["general_settings"] for one in documents if "drain_delay" in one.get("general_settings", {}))
    assert pod["terminationGracePeriodSeconds"] > general["drain_delay"] + general["shutdown_timeout"]
    probe = pod["containers"][0]["readinessProbe"]
    assert general["drain_delay"] > probe["periodSeconds"] * probe["failureThreshold"]


# -- what the documents print ------------------------------------------------------------------------------------------


def blocks(language: str, path: Path) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_nginx_lets_audio_pass() -> None:
    server = blocks("nginx", ROOT / "docs" / "deployment.md")[0]
    directives = dict(re.findall(r"^\s*([a-z_]+)\s+(.*);$", server, re.MULTILINE))
    assert directives["proxy_buffering"] == directives["proxy_request_buffering"] == "off"
    assert directives["client_max_body_size"] == f"{GeneralSettings().max_request_size_mb:.0f}m"
    assert directives["proxy_next_upstream"] == "off"


def test_contributors_are_told_of_every_module() -> None:
    table = text("docs/architecture.md").partition("## The layers")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([a-z_]+(?:\.py|/))`", table))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "proxy").glob("[a-z]*")}
    assert told - {"proxy/"} == there - {"py.typed"}
