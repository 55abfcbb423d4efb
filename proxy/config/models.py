"""The configuration as the rest of the program sees it: frozen, checked in shape, its secrets hidden.

A setting is one line here: the loader checks its name, type, bounds and default, messages name them, and the
documentation lists its description. The settings of guardrails and sinks stand beside their implementations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from proxy.config.environment import Environment
from proxy.config.fields import (
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

#: Names the folder for stored data, where the configuration does not say.
DATA_VARIABLE = "AUDIO_PROXY_DATA"


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
    """LiteLLM's ``{model: name, hidden: true}`` is the name."""
    if isinstance(value, Mapping) and isinstance(value.get("model"), str):
        return value["model"]
    return value


class Deployment(Frozen):
    """One entry of ``model_list``: a vendor's model under a group's name."""

    id: Identifier = Field(description="Names the deployment in headers, logs and metrics; made up where missing.")
    group: Text = Field(description="`model_name`: what clients send. Entries of one name form a group.")
    vendor: Text = Field(description="The prefix of `model`; openai where there is none.")
    model: Text = Field(description="The vendor's name of the model: `model` without the prefix.")
    mode: Mode | None = Field(
        default=None,
        description="What the deployment does; inferred from the model where missing. None: it translates.",
    )
    base_model: Text | None = Field(default=None, description="The model whose limits and prices apply.")
    api_key: Key | None = Field(
        default=None, description="The vendor's key; where missing, the vendor's usual variable."
    )
    api_base: Url | None = Field(default=None, description="Any server that speaks the vendor's API.")
    api_version: Text | None = Field(default=None, description="Azure's dated version of its API.")
    azure_ad_token: Key | None = Field(default=None, description="A token of Entra ID, in place of Azure's key.")
    organization: Text | None = Field(default=None, description="OpenAI's organization.")
    project: Text | None = Field(default=None, description="OpenAI's project.")
    headers: Headers = Field(default_factory=empty_mapping, description="Sent with every upstream request.")
    timeout: Seconds = Field(default=600, description="Seconds for one attempt, to the end of the answer.")
    stream_timeout: Seconds | None = Field(default=None, description="Seconds to the first byte of the answer.")
    stall_timeout: Seconds | None = Field(default=60, description="Seconds between two chunks of the answer.")
    max_retries: CountOrZero | None = Field(default=None, description="Further attempts after a failure.")
    weight: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = Field(
        default=None, description="Share of the group's calls, against the other deployments' weights."
    )
    order: CountOrZero | None = Field(default=None, description="Lower ones are asked first.")
    rpm: Count | None = Field(default=None, description="Requests a minute that the deployment may get.")
    max_parallel_requests: Count | None = Field(
        default=None, description="Requests at a time that the deployment may get."
    )
    voice: Text | None = Field(default=None, description="The voice where the caller names none.")
    voices: FrozenMapping[Text, Text] = Field(
        default_factory=empty_mapping, description="The vendor's voice for each voice that callers name."
    )
    allow_any_voice: bool = Field(
        default=False, description="Callers may name any voice of the vendor account, its private ones too."
    )
    translation_model: Text | None = Field(
        default=None, description="Group of `mode: chat` that translates, where the vendor only transcribes."
    )
    max_file_size_mb: Megabytes | None = Field(default=None, description="Largest upload, 1 MB being 1,048,576 bytes.")
    exact_usage: bool | None = Field(
        default=None,
        description="Ask for speech as events, which tell the tokens; on for OpenAI's and Azure's gpt-4o-mini-tts.",
    )
    drop_unknown: bool = Field(default=False, description="Do not pass on fields that OpenAI does not know.")
    costs: FrozenMapping[str, Price] = Field(
        default_factory=empty_mapping,
        description="Prices in USD under LiteLLM's names, such as `input_cost_per_second`; else the vendor's list.",
    )
    where: str = Field(default="", description="File and line of the entry, for messages.")

    def __hash__(self) -> int:
        return hash(self.id)


#: Prices, in `litellm_params` or in `model_info`; the others of LiteLLM's have no effect.
COST_FIELDS = frozenset({
    "input_cost_per_token", "input_cost_per_audio_token", "cache_read_input_token_cost",
    "cache_read_input_audio_token_cost", "output_cost_per_token", "output_cost_per_audio_token",
    "input_cost_per_character", "input_cost_per_second", "output_cost_per_second", "input_cost_per_request",
})  # fmt: skip
#: Fields that stand in `model_info`, and fields that the loader derives; all others stand in `litellm_params`.
MODEL_INFO_FIELDS = frozenset({"id", "mode", "base_model"})
DERIVED_FIELDS = frozenset({"group", "vendor", "costs", "where"})


class GeneralSettings(Frozen):
    """`general_settings`: the server itself."""

    master_key: Key | None = Field(
        default=None, description="The key of callers; else $PROXY_MASTER_KEY, $LITELLM_MASTER_KEY."
    )
    allow_unauthenticated: bool = Field(default=False, description="Start without a master key, open to everybody.")
    metrics_token: Key | None = Field(default=None, description="Opens /metrics, besides the master key.")
    cors_origins: tuple[Text, ...] = Field(default=(), description="Origins of browsers that may call.")
    docs_enabled: bool = Field(default=True, description="Serve /docs and /openapi.json.")
    public_catalog: bool = Field(default=False, description="List models and voices to callers without a key.")
    translation_model: Text | None = Field(
        default=None, description="Group of `mode: chat` that translates, where a deployment names none."
    )
    max_request_size_mb: Megabytes = Field(default=512, description="Largest body of any request.")
    spool_limit_mb: Megabytes = Field(default=4096, description="Disk that all uploads under way may take together.")
    spool_dir: Text | None = Field(
        default=None, description="Where uploads are spooled; else the system's temporary folder."
    )
    database_url: DatabaseUrl | None = Field(
        default=None,
        description="Keys and calls: sqlite:///… or postgresql://…; else audio-proxy.db beside the configuration.",
    )
    ledger_dir: Text | None = Field(
        default=None,
        description="Where calls wait for the database; else the folder audio-proxy-ledger beside the configuration.",
    )
    ledger_durability: Literal["process", "power"] = Field(
        default="process", description="What a recorded call survives: the death of the process, or a power cut."
    )
    ledger_spool_mb: Megabytes = Field(default=256, description="Disk that a process's waiting calls may take.")
    on_ledger_full: Literal["deny", "allow"] = Field(
        default="deny", description="What happens to calls that cannot be recorded."
    )
    ledger_retention_days: Count | None = Field(
        default=None, description="Days that calls are kept in the database; for ever if missing."
    )
    client_stall_timeout: Seconds = Field(
        default=30, description="Seconds after which a client that stopped sending is cut."
    )
    drain_delay: SecondsOrZero = Field(default=0, description="Seconds between SIGTERM and the last new connection.")
    shutdown_timeout: SecondsOrZero = Field(default=25, description="Seconds that running streams get to finish.")
    max_concurrent_streams: Count = Field(default=1000, description="Upstream calls at a time.")
    health_check_interval: Seconds | None = Field(
        default=None, description="Seconds between two rounds of real, tiny calls to every deployment; off if missing."
    )
    expose_deployment: bool = Field(default=True, description="Name the deployment in `x-proxy-deployment`.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )

    @property
    def master_key_weak(self) -> bool:
        """Whether the master key can be guessed: a known example, short, or of few different characters."""
        return self.master_key is not None and is_weak(self.master_key.get_secret_value())


RoutingStrategy = Literal[
    "simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing", "cost-based-routing"
]


class RetryPolicy(Frozen):
    """Further attempts by kind of failure; None leaves it to `num_retries`."""

    BadRequestErrorRetries: CountOrZero | None = None
    AuthenticationErrorRetries: CountOrZero | None = None
    TimeoutErrorRetries: CountOrZero | None = None
    RateLimitErrorRetries: CountOrZero | None = None
    ContentPolicyViolationErrorRetries: CountOrZero | None = None
    InternalServerErrorRetries: CountOrZero | None = None
    ServiceUnavailableErrorRetries: CountOrZero | None = None
    NotFoundErrorRetries: CountOrZero | None = None
    DefaultRetries: CountOrZero | None = None


class RouterSettings(Frozen):
    """`router_settings`, with LiteLLM's names, meanings and defaults (those of its code, not of its documentation)."""

    routing_strategy: Annotated[
        RoutingStrategy,
        BeforeValidator(lambda name: "usage-based-routing" if name == "usage-based-routing-v2" else name),
    ] = Field(default="simple-shuffle", description="How a group's deployments are ordered.")
    num_retries: CountOrZero = Field(
        default=2,
        description="Further attempts within each group. 2 is what LiteLLM does; its documentation says 3.",
    )
    retry_after: SecondsOrZero = Field(default=0, description="Least seconds between two attempts.")
    retry_policy: RetryPolicy = Field(default_factory=RetryPolicy, description="Further attempts by kind of failure.")
    fallbacks: tuple[FrozenMapping[Text, Names], ...] = Field(
        default=(), description="Groups to ask after a group has failed."
    )
    default_fallbacks: Names = Field(
        default=(), description="Groups to ask after any group without fallbacks has failed."
    )
    max_fallbacks: CountOrZero = Field(default=5, description="Most groups asked after the first.")
    allowed_fails: CountOrZero = Field(default=3, description="Failures a minute after which a deployment rests.")
    cooldown_time: SecondsOrZero = Field(default=5, description="Seconds that it rests.")
    model_group_alias: FrozenMapping[Text, Annotated[Text, BeforeValidator(_alias)]] = Field(
        default_factory=empty_mapping, description="Further names of groups."
    )
    hedge_after: Annotated[float | Literal["p95"] | None, BeforeValidator(_hedge)] = Field(
        default=None, description="Seconds, or p95, after which a second deployment is asked as well."
    )
    timeout: Seconds | None = Field(default=None, description="`timeout` of deployments that set none.")
    stream_timeout: Seconds | None = Field(default=None, description="`stream_timeout` of deployments that set none.")


class Config(Frozen):
    """A whole configuration. Nothing in it changes after it was loaded."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    path: str
    deployments: tuple[Deployment, ...]
    groups: FrozenMapping[str, tuple[Deployment, ...]] = Field(default_factory=empty_mapping, repr=False)
    #: Groups of `mode: chat` that a `translation_model` names. They translate, and serve no calls.
    translators: FrozenMapping[str, tuple[Deployment, ...]] = Field(default_factory=empty_mapping, repr=False)
    general: GeneralSettings = Field(default_factory=GeneralSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    #: Settings of the kinds that `proxy.guardrails.registry` and `proxy.sinks.registry` list.
    guardrails: tuple[SerializeAsAny[Frozen], ...] = ()
    sinks: tuple[SerializeAsAny[Frozen], ...] = ()
    #: Lines for the operator: what was skipped, what has no effect here, what is unsafe.
    warnings: tuple[str, ...] = ()
    #: `model_name` of the entries that are not served, in the file's order.
    skipped: tuple[str, ...] = ()
    #: Of each key, by section and key: `locations["router_settings.fallbacks"] == "config.yaml:40"`.
    locations: FrozenMapping[str, str] = Field(default_factory=empty_mapping, repr=False)
    environment: Environment = Field(default_factory=lambda: Environment({}), repr=False, exclude=True)

    @property
    def folder(self) -> Path:
        """Of the file."""
        return Path(self.path).absolute().parent

    @property
    def database_url(self) -> str:
        """Of the settings, else a file of SQLite beside the configuration. May hold a password."""
        configured = self.general.database_url
        return configured.get_secret_value() if configured else f"sqlite:///{self._beside('audio-proxy.db')}"

    @property
    def ledger_dir(self) -> Path:
        return Path(self.general.ledger_dir or self._beside("audio-proxy-ledger"))

    def _beside(self, name: str) -> Path:
        """In the folder of the configuration, unless $AUDIO_PROXY_DATA names another one."""
        return Path(self.environment.get(DATA_VARIABLE) or self.folder, name)

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

#: What stands in examples and tutorials.
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
