"""The page of the HTTP API, rendered from the ``/openapi.json`` that a running server answers with."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

_RUNNING = re.compile(r"^RUNNING on (\S+)$")
_CONFIG = """
model_list: [{{model_name: tts, litellm_params: {{model: local/espeak-ng}}}}]
general_settings: {{master_key: {key}}}
"""
_HEAD = """# HTTP API

Every path also works without `/v1`, and in [other spellings](../clients.md#addresses). Send a key as
`Authorization: Bearer KEY` or in [another header](../clients.md#keys); `/health/liveliness` and `/health/readiness`
need none. Errors have OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

A running server answers with this description at `/openapi.json`, and with an interactive page at `/docs`; both need
the master key.
"""


def openapi() -> Schema:
    """Starts a server for one request. Raises RuntimeError if it does not start."""
    key = f"sk-{secrets.token_hex(16)}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(_CONFIG.format(key=key))
        command = [sys.executable, "-m", "proxy", "--config", str(config), "--host", "127.0.0.1", "--port", "0"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout
                running = next(filter(None, map(_RUNNING.match, server.stdout)), None)
                if running is None:
                    raise RuntimeError("the server did not start, so there is no /openapi.json to render")
                request = urllib.request.Request(
                    f"{running[1]}/openapi.json", headers={"authorization": f"Bearer {key}"}
                )
                with urllib.request.urlopen(request, timeout=30) as answer:
                    document: Schema = json.load(answer)
                    return document
            finally:
                server.terminate()


def page(document: Schema) -> str:
    """Markdown: a section for each tag, a subsection for each operation."""
    schemas: Mapping[str, Schema] = document.get("components", {}).get("schemas", {})
    sections: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            title = operation.get("tags", ["other"])[0]
            sections.setdefault(title, []).extend(_operation(f"{method.upper()} {path}", operation, schemas))
    lines = [line for title, section in sections.items() for line in (f"## {title.capitalize()}", "", *section)]
    return f"{_HEAD}\n" + "\n".join(lines)


def _operation(title: str, operation: Schema, schemas: Mapping[str, Schema]) -> Iterator[str]:
    yield from (f"### `{title}`", "")
    for text in (operation.get("summary"), operation.get("description")):
        if text:
            yield from (_prose(text), "")
    parameters = [
        (row["name"], row["schema"] | row, row.get("required", False)) for row in operation.get("parameters", [])
    ]
    yield from _table("Parameter", parameters, schemas)
    for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield from (f"Body: `{content_type}`.", "")
        yield from _table("Field", _fields(_resolved(body["schema"], schemas)), schemas)
    yield from ("| Status | Answer | Content type |", "|---|---|---|")
    for status, answer in operation["responses"].items():
        types = ", ".join(f"`{content_type}`" for content_type in answer.get("content", {}))
        yield f"| {status} | {_prose(answer['description'])} | {types} |"
    yield ""
    for content_type, body in operation["responses"].get("200", {}).get("content", {}).items():
        if fields := _fields(_resolved(body.get("schema", {}), schemas)):
            yield from (f"Answer: `{content_type}`.", "")
            yield from _table("Field", fields, schemas)


def _table(name: str, rows: Sequence[tuple[str, Schema, bool]], schemas: Mapping[str, Schema]) -> Iterator[str]:
    if not rows:
        return
    yield from (f"| {name} | Type | |", "|---|---|---|")
    for field, schema, required in rows:
        default = schema.get("default")
        remarks = [
            "Required." if required else "",
            _prose(schema.get("description") or _resolved(schema, schemas).get("description", "")),
            f"Default: `{json.dumps(default)}`." if default is not None else "",
        ]
        yield f"| `{field}` | {_type(schema, schemas)} | {' '.join(filter(None, remarks))} |"
    yield ""


def _fields(schema: Schema) -> list[tuple[str, Schema, bool]]:
    required = schema.get("required", [])
    return [(name, field, name in required) for name, field in schema.get("properties", {}).items()]


def _type(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    schema = _resolved(schema, schemas)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice, schemas) for choice in choices))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{value}`" for value in values)
    name = schema.get("type", "any")
    if name == "array":
        return f"array of {_type(schema.get('items', {}), schemas)}"
    if name == "object" and (fields := schema.get("properties")):
        return f"object ({', '.join(f'`{field}`' for field in fields)})"
    bounds = [f"{word} {schema[bound]:g}" for bound, word in _BOUNDS if bound in schema]
    return ", ".join([" or ".join(name) if isinstance(name, list) else name, *bounds])


_BOUNDS = (("minimum", "at least"), ("maximum", "at most"))


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if reference else schema


def _prose(text: str) -> str:
    """In a table's cell, too."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")
