"""The configuration as the rest of the program sees it: frozen and validated, with its secrets hidden.

Each setting is one field with its name, type, bounds, default and description. The settings of guardrails and sinks are
defined next to their implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from proxy.config.environment import Environment
from proxy.config.fields import (
    AT_START,
    Count,
    CountOrZero,
    DatabaseUrl,
    Frozen,
    FrozenMapping,
    Headers,
    Identifier,
    Key,
    Megabytes,
    Names,
    Price,
    Seconds,
    SecondsOrZero,
    Text,
    Url,
    empty_mapping,
)
from proxy.domain.requests import Mode

#: The folder for stored data.
DATA_VARIABLE = "AUDIO_PROXY_DATA"
DATABASE_FILE = "audio-proxy.db"
LEDGER_FOLDER = "audio-proxy-ledger"


def _hedge(value: Any) -> Any:
    return value if value is None or value == "p95" else _seconds(value)


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise ValueError("must be a number of seconds, or p95")
    return seconds


def _alias(value: Any) -> Any:
    """LiteLLM allows ``{model: name, hidden: true}`` instead of a name."""
    if isinstance(value, Mapping) and isinstance(value.get("model"), str):
        return value["model"]
    return value


class Deployment(Frozen):
    """One entry of ``model_list``: a vendor's model in a group."""

    id: Identifier = Field(
        description="Names the deployment in headers, logs, metrics and the ledger. If missing: "
        "`model_name/vendor/model`, with `#2` for a second entry with the same three."
    )
    group: Text = Field(description="`model_name`: what clients send. Entries with the same name form a group.")
    vendor: Text = Field(description="The prefix of `model`; openai if there is none.")
    model: Text = Field(description="The vendor's name for the model: `model` without the prefix.")
    mode: Mode | None = Field(
        default=None,
        description="What the deployment does. Inferred from the model if missing. None: it is a translator.",
    )
    base_model: Text | None = Field(default=None, description="The model whose limits, formats and prices apply.")
    api_key: Key | None = Field(default=None, description="The vendor's key; if missing, the vendor's usual variable.")
    api_base: Url | None = Field(default=None, description="Base URL of a server with the vendor's API.")
    api_version: Text | None = Field(default=None, description="The version of Azure's API.")
    azure_ad_token: Key | None = Field(default=None, description="An Entra ID token, instead of Azure's key.")
    organization: Text | None = Field(default=None, description="The OpenAI organization.")
    project: Text | None = Field(default=None, description="The OpenAI project.")
    headers: Headers = Field(default_factory=empty_mapping, description="Sent with every upstream request.")
    timeout: Seconds = Field(default=600, description="Seconds for one attempt, until the end of the response.")
    stream_timeout: Seconds | None = Field(default=None, description="Seconds until the first byte of the response.")
    stall_timeout: Seconds | None = Field(default=60, description="Seconds between two chunks of the response.")
    max_retries: CountOrZero | None = Field(default=None, description="Retries after a failure.")
    weight: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = Field(
        default=None, description="Share of the group's calls, relative to the weights of the other deployments."
    )
    order: CountOrZero | None = Field(default=None, description="Deployments with a lower order are tried first.")
    rpm: Count | None = Field(default=None, description="Maximum requests per minute.")
    max_parallel_requests: Count | None = Field(default=None, description="Maximum concurrent requests.")
    voice: Text | None = Field(default=None, description="The voice, if the caller names none.")
    voices: FrozenMapping[Text, Text] = Field(
        default_factory=empty_mapping, description="Maps voices that callers name to the vendor's voices."
    )
    allow_any_voice: bool = Field(
        default=False, description="Callers may name any voice of the vendor account, including private ones."
    )
    translation_model: Text | None = Field(
        default=None, description="Group with `mode: chat` that translates if the vendor only transcribes."
    )
    split_long_input: bool = Field(
        default=True, description="Speak an input that is too long for one request in pieces; else it is rejected."
    )
    max_file_size_mb: Megabytes | None = Field(default=None, description="Largest upload. 1 MB is 1,048,576 bytes.")
    exact_usage: bool | None = Field(
        default=None,
        description="Request speech as events, which report tokens. On for gpt-4o-mini-tts of OpenAI and Azure.",
    )
    drop_unknown: bool = Field(default=False, description="Drop request fields that OpenAI's API does not have.")
    costs: FrozenMapping[str, Price] = Field(
        default_factory=empty_mapping,
        description="Prices in USD with LiteLLM's names, such as `input_cost_per_second`; else the built-in prices.",
    )
    where: str = Field(default="", description="File and line of the entry, for messages.")

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def kind(self) -> str:
        """Which model it is: ``base_model``, without the vendor's own prefix, else the vendor's name for it."""
        return self.base_model.removeprefix(f"{self.vendor}/") if self.base_model is not None else self.model

    @property
    def connection(self) -> tuple[object, ...]:
        """Where its calls go, and as whom: what was learned over another connection does not count."""
        return tuple(getattr(self, name) for name in _CONNECTION_FIELDS)


_CONNECTION_FIELDS = (
    "vendor", "model", "api_base", "api_version", "api_key", "azure_ad_token", "organization", "project", "headers",
)  # fmt: skip
#: Supported prices, in `litellm_params` or `model_info`. LiteLLM's other prices have no effect.
COST_FIELDS = frozenset({
    "input_cost_per_token", "input_cost_per_audio_token", "cache_read_input_token_cost",
    "cache_read_input_audio_token_cost", "output_cost_per_token", "output_cost_per_audio_token",
    "input_cost_per_character", "input_cost_per_second", "output_cost_per_second", "input_cost_per_request",
})  # fmt: skip
#: Fields in `model_info`, and fields that the loader derives. All others are in `litellm_params`.
MODEL_INFO_FIELDS = frozenset({"id", "mode", "base_model"})
DERIVED_FIELDS = frozenset({"group", "vendor", "costs", "where"})


class GeneralSettings(Frozen):
    """`general_settings`: the server. A reload applies all of them except those marked with `AT_START`."""

    master_key: Key | None = Field(
        default=None, description="The master key; else $PROXY_MASTER_KEY or $LITELLM_MASTER_KEY."
    )
    previous_master_key: Key | None = Field(
        default=None,
        description="The master key before the current one, accepted as long as it is set; else "
        "$PROXY_PREVIOUS_MASTER_KEY. For replacing the master key without an interruption.",
    )
    allow_unauthenticated: bool = Field(default=False, description="Start without a master key. Anyone may call.")
    metrics_token: Key | None = Field(default=None, description="Gives access to /metrics, as the master key does.")
    cors_origins: tuple[Text, ...] = Field(default=(), description="Origins from which browsers may call.")
    docs_enabled: bool = Field(default=True, description="Serve /docs and /openapi.json.")
    public_catalog: bool = Field(
        default=False, description="List models and voices without a key. A wrong key is refused."
    )
    translation_model: Text | None = Field(
        default=None, description="Group with `mode: chat` that translates for deployments that name none."
    )
    max_request_size_mb: Megabytes = Field(default=512, description="Largest request body.")
    spool_limit_mb: Annotated[Megabytes, AT_START] = Field(
        default=4096, description="Disk space for all current uploads."
    )
    spool_dir: Annotated[Text | None, AT_START] = Field(
        default=None, description="Folder for uploads; else the system's temporary folder."
    )
    database_url: Annotated[DatabaseUrl | None, AT_START] = Field(
        default=None,
        description="For keys and calls: sqlite:///… or postgresql://…; else audio-proxy.db in $AUDIO_PROXY_DATA, "
        "or next to the configuration.",
    )
    ledger_dir: Annotated[Text | None, AT_START] = Field(
        default=None,
        description="For calls that are not yet in the database; else audio-proxy-ledger where audio-proxy.db is.",
    )
    ledger_durability: Annotated[Literal["process", "power"], AT_START] = Field(
        default="process", description="What a recorded call survives: a crash of the process, or a power failure."
    )
    ledger_spool_mb: Annotated[Megabytes, AT_START] = Field(
        default=256, description="Disk space in `ledger_dir` for each process."
    )
    on_ledger_full: Annotated[Literal["deny", "allow"], AT_START] = Field(
        default="deny", description="Whether calls that cannot be recorded are rejected."
    )
    ledger_retention_days: Annotated[Count | None, AT_START] = Field(
        default=None, description="Days to keep calls in the database; forever if missing."
    )
    client_stall_timeout: Seconds = Field(
        default=30, description="Seconds until a client that stops sending is disconnected."
    )
    drain_delay: SecondsOrZero = Field(
        default=0, description="Seconds after SIGTERM during which new connections are accepted."
    )
    shutdown_timeout: Annotated[SecondsOrZero, AT_START] = Field(
        default=25, description="Seconds for running streams to finish."
    )
    max_concurrent_streams: Annotated[Count, AT_START] = Field(
        default=1000, description="Maximum concurrent upstream calls."
    )
    health_check_interval: Seconds | None = Field(
        default=None, description="Seconds between rounds of small, real calls to every deployment; off if missing."
    )
    expose_deployment: bool = Field(default=True, description="Send the header `x-proxy-deployment`.")
    log_format: Annotated[
        Literal["auto", "json", "console"],
        BeforeValidator(lambda name: "console" if name == "text" else name),
        AT_START,
    ] = Field(
        default="auto",
        description="`console` (or `text`): one short line per call, for people. `json`: all fields. `auto` is console "
        "on a terminal, else json.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AT_START] = Field(
        default="info",
        description="Minimum level. With `debug`, the short lines of `log_format: console` have all fields.",
    )


RoutingStrategy = Literal[
    "simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing", "cost-based-routing"
]


class RetryPolicy(Frozen):
    """Retries by kind of failure. None means `num_retries`."""

    BadRequestErrorRetries: CountOrZero | None = Field(
        default=None, description="After other refusals of the request (4xx)."
    )
    AuthenticationErrorRetries: CountOrZero | None = Field(default=None, description="After 401 and 403.")
    TimeoutErrorRetries: CountOrZero | None = Field(default=None, description="After timeouts.")
    RateLimitErrorRetries: CountOrZero | None = Field(default=None, description="After 429.")
    ContentPolicyViolationErrorRetries: CountOrZero | None = Field(
        default=None, description="After a refusal by the vendor's content filter."
    )
    InternalServerErrorRetries: CountOrZero | None = Field(
        default=None, description="After other failures of the vendor, such as 500 and broken connections."
    )
    ServiceUnavailableErrorRetries: CountOrZero | None = Field(default=None, description="After 503.")
    NotFoundErrorRetries: CountOrZero | None = Field(default=None, description="After 404.")
    DefaultRetries: CountOrZero | None = Field(default=None, description="After failures whose own setting is missing.")


class RouterSettings(Frozen):
    """`router_settings`, with LiteLLM's names, meanings and defaults (as in its code, not its documentation)."""

    routing_strategy: Annotated[
        RoutingStrategy,
        BeforeValidator(lambda name: "usage-based-routing" if name == "usage-based-routing-v2" else name),
    ] = Field(default="simple-shuffle", description="The order of a group's deployments.")
    num_retries: CountOrZero = Field(
        default=2,
        description="Retries within each group. 2 is what LiteLLM does; its documentation says 3.",
    )
    retry_after: SecondsOrZero = Field(default=0, description="Minimum seconds between two attempts.")
    retry_policy: RetryPolicy = Field(default_factory=RetryPolicy, description="Retries by kind of failure.")
    fallbacks: tuple[FrozenMapping[Text, Names], ...] = Field(
        default=(), description="Groups to try after a group failed."
    )
    default_fallbacks: Names = Field(
        default=(), description="Groups to try after any group without its own fallbacks failed."
    )
    max_fallbacks: CountOrZero = Field(default=5, description="Maximum groups to try after the first.")
    allowed_fails: CountOrZero = Field(default=3, description="More failures than this in a minute start a cooldown.")
    cooldown_time: SecondsOrZero = Field(default=5, description="Seconds of a cooldown.")
    model_group_alias: FrozenMapping[Text, Annotated[Text, BeforeValidator(_alias)]] = Field(
        default_factory=empty_mapping, description="Aliases of groups."
    )
    hedge_after: Annotated[float | Literal["p95"] | None, BeforeValidator(_hedge)] = Field(
        default=None, description="Seconds, or p95, until a second deployment is called in parallel."
    )
    timeout: Seconds | None = Field(default=None, description="Default `timeout` of deployments.")
    stream_timeout: Seconds | None = Field(default=None, description="Default `stream_timeout` of deployments.")


class Config(Frozen):
    """A complete, immutable configuration."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    path: str
    deployments: tuple[Deployment, ...]
    groups: FrozenMapping[str, tuple[Deployment, ...]] = Field(default_factory=empty_mapping, repr=False)
    #: Groups with `mode: chat` that a `translation_model` names. They translate and serve no calls.
    translators: FrozenMapping[str, tuple[Deployment, ...]] = Field(default_factory=empty_mapping, repr=False)
    general: GeneralSettings = Field(default_factory=GeneralSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    #: Settings of the kinds listed in `proxy.guardrails.registry` and `proxy.sinks.registry`.
    guardrails: tuple[SerializeAsAny[Frozen], ...] = ()
    sinks: tuple[SerializeAsAny[Frozen], ...] = ()
    #: For the operator: what was skipped, has no effect, or is unsafe.
    warnings: tuple[str, ...] = ()
    #: `model_name` of the entries that are not served, in the order of the file.
    skipped: tuple[str, ...] = ()
    #: Locations of settings: `locations["router_settings.fallbacks"] == "config.yaml:40"`.
    locations: FrozenMapping[str, str] = Field(default_factory=empty_mapping, repr=False)
    environment: Environment = Field(default_factory=lambda: Environment({}), repr=False, exclude=True)

    @property
    def folder(self) -> Path:
        """The folder that contains the file."""
        return Path(self.path).absolute().parent

    @property
    def data_dir(self) -> Path:
        """Where data lies: the folder that $AUDIO_PROXY_DATA names, else the one that contains the configuration.

        All relative paths count from the configuration's folder, so that they do not depend on where a command runs.
        """
        return self.folder / self.environment.get(DATA_VARIABLE, "").strip()

    @property
    def database_url(self) -> str:
        """From the settings, else an SQLite file in the data folder. May contain a password."""
        configured = self.general.database_url
        if configured is None:
            return f"sqlite:///{self.data_dir / DATABASE_FILE}"
        scheme, separator, path = configured.get_secret_value().partition(":///")
        if scheme.startswith("sqlite") and path and not path.startswith(("/", ":memory:", "file:")):
            path = f"{self.folder}/{path}"
        return f"{scheme}{separator}{path}"

    @property
    def ledger_dir(self) -> Path:
        return self.folder / self.general.ledger_dir if self.general.ledger_dir else self.data_dir / LEDGER_FOLDER

    @model_validator(mode="before")
    @classmethod
    def _group(cls, data: Any) -> Any:
        if isinstance(data, dict) and "groups" not in data:
            groups: dict[str, tuple[Deployment, ...]] = {}
            for deployment in data.get("deployments", ()):
                groups[deployment.group] = (*groups.get(deployment.group, ()), deployment)
            return {**data, "groups": groups}
        return data


# -- keys that can be guessed ------------------------------------------------------------------------------------------

#: Parts of keys in examples and tutorials.
_EXAMPLE_PARTS = (
    "1234",
    "change",
    "replace",
    "placeholder",
    "example",
    "password",
    "secret",
    "your-",
    "my-",
    "xxx",
    "***",
)


def is_weak(key: str) -> bool:
    bare = key.lower().removeprefix("sk-").replace("_", "-")
    return len(key) < 16 or len(set(bare)) < 8 or any(part in bare for part in _EXAMPLE_PARTS)
