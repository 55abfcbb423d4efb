"""Writes docs/settings.md from the declarations of the settings. A test fails if the file is stale.

Usage: python .ci/settings.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from proxy.config import Deployment, is_applied_at_start
from proxy.config.kinds import Kinds
from proxy.config.models import (
    COST_FIELDS,
    DERIVED_FIELDS,
    MODEL_INFO_FIELDS,
    GeneralSettings,
    RetryPolicy,
    RouterSettings,
)
from proxy.guardrails.registry import KINDS as GUARDRAILS
from proxy.guardrails.settings import GuardrailSettings
from proxy.sinks.registry import KINDS as SINKS
from proxy.sinks.settings import SinkSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

<!-- Written by `python .ci/settings.py` from the declarations in proxy/. Do not edit. -->

Every setting of the configuration file, with its type and default.
[config.example.yaml](../config.example.yaml) shows them in use. `audio-proxy check --config FILE` reports every mistake
with file, line and the nearest known name.

Any text value can be `os.environ/NAME`, which reads an environment variable. 1 MB is 1,048,576 bytes.

- [The file](#the-file)
- [model_list](#model_list)
- [general_settings](#general_settings)
- [router_settings](#router_settings)
- [guardrails](#guardrails)
- [callback_settings](#callback_settings)
- [Environment variables](#environment-variables)

## The file

| key | value | description |
|---|---|---|
| `model_list` | list | The deployments: one entry for each model of a vendor. |
| `general_settings` | mapping | The server. |
| `router_settings` | mapping | How calls are routed. |
| `guardrails` | list | Checks of inputs, prompts and transcripts. |
| `litellm_settings` | mapping | `callbacks`, `success_callback` and `failure_callback`: lists of sinks that receive \
all, successful or failed calls. `s3_callback_params`: settings of the sink `s3`. |
| `callback_settings` | mapping | Settings of the sinks, by name. |
| `environment_variables` | mapping | Variables for this file; they take precedence over the environment. |
| `include` | list | More configuration files to merge, relative to this one. An included file cannot include others. |

LiteLLM's other settings are reported at startup: those that protect something are errors, the rest are named in a
warning.
"""
ENVIRONMENT = """\
## Environment variables

| variable | used by | meaning |
|---|---|---|
| `AUDIO_PROXY_CONFIG` | all commands | The configuration file, unless `--config` names one. |
| `AUDIO_PROXY_DATA` | all commands | The folder for keys and calls, unless `database_url` and `ledger_dir` name other \
places ([deployment.md](deployment.md#where-data-is-stored)). |
| `PROXY_MASTER_KEY`, `LITELLM_MASTER_KEY` | the server | The master key, if `master_key` is missing. |
| `PROXY_PREVIOUS_MASTER_KEY` | the server | The previous master key, if `previous_master_key` is missing. |
| `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | the server, Python functions | The HTTP proxy for requests to \
vendors, webhooks and sinks. Lower case works as well. |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | the server, Python functions | Authorities to trust instead of \
certifi's. |
| `TMPDIR` | the server | The folder for uploads, if `spool_dir` is missing. |
| `NO_COLOR` | the server | Console logs without colors. |

`AUDIO_PROXY_DATA`, the master keys, vendors' keys and the variables that the configuration names can also stand in the
file `.env` next to the configuration, in lines `NAME=value`. The process's own variables take precedence.

Vendors' keys have variables of their own, listed in [vendors.md](vendors.md). Those of sinks are in
[observability.md](observability.md).
"""

#: Upper bounds from here on only keep out nonsense, and are not shown.
UNBOUNDED = 1_000_000_000

_Schema: TypeAlias = Mapping[str, Any]
#: What the reader of the file derives; a file does not contain it.
_SINK_DERIVED = frozenset({"name", "kind", "where", "successes", "failures"})


def page() -> str:
    return "\n".join(
        [HEAD, *_model_list(), *_general(), *_router(), *_guardrails(), *_sinks(), ENVIRONMENT.rstrip("\n"), ""]
    )


def _model_list() -> Iterator[str]:
    info = [name for name in Deployment.model_fields if name in MODEL_INFO_FIELDS]
    params = [name for name in Deployment.model_fields if name not in MODEL_INFO_FIELDS | DERIVED_FIELDS]
    yield "## model_list\n"
    yield "Each entry has a `model_name`, which clients send as `model`. Entries with the same name form a model"
    yield "group.\n"
    yield "### litellm_params\n"
    yield "Also called `params`.\n"
    yield from _table(
        Deployment, params, descriptions={"model": "`vendor/model`; without a prefix, the vendor is openai."}
    )
    yield ""
    yield "### model_info\n"
    yield from _table(Deployment, info, defaults={"id": "`model_name/vendor/model`"})
    yield ""
    yield "Prices in USD ([cost.md](cost.md)), in either mapping:\n"
    yield from (f"- `{name}`" for name in sorted(COST_FIELDS))
    yield ""


def _general() -> Iterator[str]:
    yield "## general_settings\n"
    yield "A reload applies a change of a setting, unless it is marked with *restart*.\n"
    marked = {
        name: f"{field.description} *restart*"
        for name, field in GeneralSettings.model_fields.items()
        if is_applied_at_start(name)
    }
    yield from _table(GeneralSettings, descriptions=marked)
    yield ""


def _router() -> Iterator[str]:
    yield "## router_settings\n"
    yield "[routing.md](routing.md) explains them.\n"
    yield from _table(RouterSettings)
    yield ""
    yield "### retry_policy\n"
    yield from _table(RetryPolicy)
    yield ""


def _guardrails() -> Iterator[str]:
    yield "## guardrails\n"
    yield "Each entry has a `guardrail_name`, its `litellm_params` and optionally `default_on`."
    yield "[guardrails.md](guardrails.md) explains the kinds. Settings of every guardrail:\n"
    yield from _table(GuardrailSettings, _without(GuardrailSettings, {"where"}))
    yield ""
    yield from _kinds("Guardrail", GUARDRAILS, GuardrailSettings.model_fields)


def _sinks() -> Iterator[str]:
    yield "## callback_settings\n"
    yield "One mapping for each name in `litellm_settings.callbacks`. [observability.md](observability.md) explains the"
    yield "kinds. A name of your own needs `callback_type`, the kind. Settings of every sink:\n"
    yield from _table(SinkSettings, _without(SinkSettings, _SINK_DERIVED))
    yield ""
    yield from _kinds("Sink", SINKS, SinkSettings.model_fields)


def _kinds(what: str, kinds: Kinds[Any], common: Collection[str]) -> Iterator[str]:
    for settings in dict.fromkeys(kinds.classes.values()):
        names = [name for name, named in kinds.classes.items() if named is settings]
        yield f"### {what} {' or '.join(names)}\n"
        own = _without(settings, common)
        if own:
            yield from _table(settings, own)
        else:
            yield "No settings of its own."
        yield ""


def _without(settings: type[BaseModel], names: Collection[str]) -> list[str]:
    return [name for name in settings.model_fields if name not in names]


def _table(
    settings: type[BaseModel],
    names: Collection[str] | None = None,
    *,
    descriptions: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Iterator[str]:
    schema = settings.model_json_schema()
    definitions = schema.get("$defs", {})
    yield "| key | value | default | description |"
    yield "|---|---|---|---|"
    for name in settings.model_fields if names is None else names:
        field = settings.model_fields[name]
        key = str(field.validation_alias or name)
        description = (descriptions or {}).get(name) or field.description
        if not description:
            raise LookupError(f"{settings.__name__}.{name} has no description")
        property_ = schema["properties"][key]
        default = (defaults or {}).get(name) or ("required" if field.is_required() else _default(property_))
        yield f"| `{key}` | {_type(property_, definitions)} | {default} | {description.replace('|', chr(92) + '|')} |"


def _default(schema: _Schema) -> str:
    default = schema.get("default")
    if default is None or default == [] or default == "":
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return ", ".join(f"`{value}`" for value in default)
    return f"`{default}`"


def _type(schema: _Schema, definitions: _Schema) -> str:
    """The type in words, with its bounds: ``number > 0, ≤ 86,400``."""
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        options = [_type(option, definitions) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'], definitions)}"
    if kind == "object" and "properties" not in schema:
        values = schema.get("additionalProperties")
        return f"mapping to {_type(values, definitions)}" if isinstance(values, Mapping) else "mapping"
    if kind in ("integer", "number"):
        return f"{kind}{_bounds(schema)}"
    if schema.get("format") == "password":
        return "secret"
    return {"boolean": "true or false", "string": "text", "object": "mapping"}.get(str(kind), "any")


def _bounds(schema: _Schema) -> str:
    low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    bounds = [f"{sign} {bound:,.10g}" for sign, bound in ((">", above), ("≥", low)) if bound is not None]
    if high is not None and high < UNBOUNDED:
        bounds.append(f"≤ {high:,.10g}")
    return f" {', '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
