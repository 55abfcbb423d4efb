"""The configuration as the rest of the program sees it: frozen, checked in shape, its secrets hidden.

A setting is one line here: its name, type, default, bounds and description are what the loader checks, what its
messages say and what the documentation lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    model_validator,
)

from proxy.domain.guardrails import Stage
from proxy.domain.requests import Mode

_K = TypeVar("_K")
_V = TypeVar("_V")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_ID = re.compile(r"[!-~]{1,128}")
#: Other ways to name a variable, as people know them from shells, Compose files and Python.
_VARIABLE = re.compile(
    r"\$[A-Z][A-Z0-9_]*|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|%\w+%|(?i:os\.(environ|getenv)).*|(?i:env)[/:.]\w+"
)
#: Headers that belong to one connection or are computed by the HTTP client. Answers are passed on undecoded, so none
#: may be asked for in another encoding.
_REFUSED_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
#: Names the folder for what is kept, where the configuration does not say.
DATA_VARIABLE = "AUDIO_PROXY_DATA"
_ENDPOINTS = ("/audio/speech", "/audio/transcriptions", "/audio/translations")


# -- what a value may be -----------------------------------------------------------------------------------------------
# A validator raises ValueError with a message that says what is expected and never repeats the value.


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


def _key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("has characters that a header cannot carry (only printable ASCII can be sent)")
    if _VARIABLE.fullmatch(text):
        raise ValueError("names a variable in a way that is not read here; write os.environ/NAME")
    return SecretStr(text)


def _url(text: str) -> str:
    """The base of an http(s) API, without userinfo, query and fragment; the slashes at its end are cut off."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must be a URL of printable ASCII characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://host:port/v1") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("must name a host, such as https://host:port/v1")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; use api_key or headers")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or a fragment")
    for endpoint in _ENDPOINTS:
        if parts.path.rstrip("/").endswith(endpoint):
            raise ValueError(f"must be the base (https://host/v1), without {endpoint}")
    return text.rstrip("/")


def _database(secret: SecretStr) -> SecretStr:
    """A URL of SQLAlchemy's, which may hold a password."""
    text = secret.get_secret_value()
    if not text.isprintable() or not re.match(r"(sqlite(\+aiosqlite)?:///|postgres(ql(\+\w+)?)?://)", text):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return secret


def _headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    seen: set[str] = set()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("has a name that is no header name (letters, digits and dashes)")
        if name.lower() in _REFUSED_HEADERS:
            raise ValueError(f"must not set '{name.lower()}', which is the HTTP client's own")
        if name.lower() in seen:
            raise ValueError(f"sets '{name.lower()}' twice")
        seen.add(name.lower())
        text = value.get_secret_value()
        if not text.isascii() or not text.replace("\t", " ").isprintable():
            raise ValueError(
                "has a value with characters that a header cannot carry (only printable ASCII can be sent)"
            )
    return headers


def _identifier(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces")
    return text


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


def _guardrail_name(text: str) -> str:
    if not _ID.fullmatch(text) or "," in text:
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces and commas")
    return text


def _filled(values: tuple[_V, ...]) -> tuple[_V, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


def _country(code: str) -> str:
    if not re.fullmatch("[A-Z]{2}", code):
        raise ValueError("must be codes of countries, such as US or DE")
    return code


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _frozen(mapping: Mapping[_K, _V]) -> Mapping[_K, _V]:
    return MappingProxyType(dict(mapping))


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


_FREEZE = (AfterValidator(_frozen), PlainSerializer(dict))

Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_plain)]
Key = Annotated[SecretStr, Field(min_length=1), AfterValidator(_key)]
DatabaseUrl = Annotated[SecretStr, Field(min_length=1), AfterValidator(_database)]
Url = Annotated[str, AfterValidator(_url)]
Headers = Annotated[Mapping[str, SecretStr], AfterValidator(_headers), *_FREEZE]
Identifier = Annotated[str, AfterValidator(_identifier)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(gt=0, le=1_048_576, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000_000)]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Names = tuple[Text, ...]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Environment(Mapping[str, str]):
    """The variables that the configuration may use: its own ``environment_variables``, then the process's.

    An empty variable counts as unset. Never shows a value.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value.strip()}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Environment({len(self)} variables)"


# -- the settings ------------------------------------------------------------------------------------------------------


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
    headers: Headers = Field(default_factory=_nothing, description="Sent with every upstream request.")
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
    voices: Annotated[Mapping[Text, Text], *_FREEZE] = Field(
        default_factory=_nothing, description="The vendor's voice for each voice that callers name."
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
    costs: Annotated[Mapping[str, Price], *_FREEZE] = Field(
        default_factory=_nothing,
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
    fallbacks: tuple[Annotated[Mapping[Text, Names], *_FREEZE], ...] = Field(
        default=(), description="Groups to ask after a group has failed."
    )
    default_fallbacks: Names = Field(
        default=(), description="Groups to ask after any group without fallbacks has failed."
    )
    max_fallbacks: CountOrZero = Field(default=5, description="Most groups asked after the first.")
    allowed_fails: CountOrZero = Field(default=3, description="Failures a minute after which a deployment rests.")
    cooldown_time: SecondsOrZero = Field(default=5, description="Seconds that it rests.")
    model_group_alias: Annotated[Mapping[Text, Annotated[Text, BeforeValidator(_alias)]], *_FREEZE] = Field(
        default_factory=_nothing, description="Further names of groups."
    )
    hedge_after: Annotated[float | Literal["p95"] | None, BeforeValidator(_hedge)] = Field(
        default=None, description="Seconds, or p95, after which a second deployment is asked as well."
    )
    timeout: Seconds | None = Field(default=None, description="`timeout` of deployments that set none.")
    stream_timeout: Seconds | None = Field(default=None, description="`stream_timeout` of deployments that set none.")


GuardrailKind = Literal["pii", "blocked_words", "max_length", "openai_moderation", "webhook", "custom"]
Entity = Literal["CREDIT_CARD", "EMAIL", "PHONE", "IBAN", "IP", "US_SSN"]
ENTITIES: tuple[Entity, ...] = ("CREDIT_CARD", "EMAIL", "PHONE", "IBAN", "IP", "US_SSN")
#: The names that Presidio, and so LiteLLM, has for them.
_ENTITY_ALIASES = {"EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP"}


class Guardrail(Frozen):
    """One entry of `guardrails`. Which fields a kind has is in `proxy.config.guardrails`."""

    name: Annotated[str, AfterValidator(_guardrail_name)] = Field(description="`guardrail_name`: what requests name.")
    kind: GuardrailKind = Field(description="`guardrail`: what it is.")
    mode: Annotated[tuple[Stage, ...], BeforeValidator(_listed), AfterValidator(_filled)] = Field(
        description="When it looks: pre_call, during_call, post_call, logging_only; one or several."
    )
    default_on: bool = Field(default=False, description="It looks at every call; no request can switch it off.")
    teams: Names = Field(default=(), description="It looks at every call of these teams' keys.")
    action: Literal["block", "redact", "log"] | None = Field(
        default=None, description="What becomes of what it finds; block if missing."
    )
    entities: Annotated[
        tuple[Annotated[Entity, BeforeValidator(lambda name: _ENTITY_ALIASES.get(str(name), name))], ...],
        AfterValidator(_filled),
    ] = Field(default=ENTITIES, description="What `pii` looks for.")
    regions: Annotated[tuple[Annotated[str, AfterValidator(_country)], ...], AfterValidator(_filled)] = Field(
        default=("US",), description="Countries whose phone numbers are known without their code."
    )
    words: Names = Field(default=(), description="What `blocked_words` looks for: words and phrases.")
    patterns: Names = Field(default=(), description="Regular expressions of RE2's, beside the words.")
    max_characters: Count | None = Field(default=None, description="What `max_length` lets pass.")
    url: Url | None = Field(default=None, description="Where `webhook` asks.")
    headers: Headers = Field(default_factory=_nothing, description="Sent with every question to the webhook.")
    api_base: Url | None = Field(default=None, description="The moderation's server; OpenAI's if missing.")
    api_key: Key | None = Field(default=None, description="Its key; $OPENAI_API_KEY if missing.")
    model: Text = Field(default="omni-moderation-latest", description="The moderation's model.")
    categories: Names = Field(default=(), description="The categories that count; all if missing.")
    thresholds: Annotated[Mapping[Text, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]], *_FREEZE] = Field(
        default_factory=_nothing, description="Scores from which a category counts, in place of the model's own."
    )
    class_path: Text | None = Field(default=None, description="`class`: module.Class of a guardrail of one's own.")
    params: Annotated[Mapping[Text, Any], *_FREEZE] = Field(
        default_factory=_nothing, description="Arguments of that class."
    )
    timeout: Seconds = Field(default=5, description="Seconds that an answer may take.")
    on_failure: Literal["block", "allow"] = Field(default="block", description="Where it cannot decide.")
    where: str = Field(default="", description="File and line of the entry, for messages.")


SinkKind = Literal["webhook", "otel", "langfuse", "s3", "custom"]


class Sink(Frozen):
    """Where records of calls go: a name of `litellm_settings.callbacks`, with its `callback_settings`."""

    name: Text
    kind: SinkKind
    successes: bool = Field(default=True, description="It gets the calls that went well.")
    failures: bool = Field(default=True, description="It gets the calls that failed.")
    endpoint: Url | None = Field(default=None, description="Where a webhook, or an S3-compatible store, is.")
    headers: Headers = Field(default_factory=_nothing, description="Sent with every batch to a webhook.")
    signing_secret: Key | None = Field(default=None, description="Signs what a webhook gets.")
    bucket: Text | None = None
    region: Text | None = None
    path: str = Field(default="", description="Prefix of the objects' names.")
    access_key_id: Key | None = None
    secret_access_key: Key | None = None
    session_token: Key | None = None
    params: Annotated[Mapping[Text, Any], *_FREEZE] = Field(
        default_factory=_nothing, description="Arguments of a class of one's own."
    )
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="Most records of a batch.")
    flush_interval: Seconds = Field(default=2, description="Seconds that a record waits for others.")
    queue_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Records that may wait; further ones are dropped, and counted."
    )
    where: str = Field(default="", description="File and line of the name, for messages.")


class Config(Frozen):
    """A whole configuration. Nothing in it changes after it was loaded."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    path: str
    deployments: tuple[Deployment, ...]
    groups: Annotated[Mapping[str, tuple[Deployment, ...]], *_FREEZE] = Field(default_factory=_nothing, repr=False)
    #: Groups of `mode: chat` that a `translation_model` names. They translate, and serve no calls.
    translators: Annotated[Mapping[str, tuple[Deployment, ...]], *_FREEZE] = Field(default_factory=_nothing, repr=False)
    general: GeneralSettings = Field(default_factory=GeneralSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    guardrails: tuple[Guardrail, ...] = ()
    sinks: tuple[Sink, ...] = ()
    #: Lines for the operator: what was skipped, what has no effect here, what is unsafe.
    warnings: tuple[str, ...] = ()
    #: `model_name` of the entries that are not served, in the file's order.
    skipped: tuple[str, ...] = ()
    #: Where a key stands, by section and key: `places["router_settings.fallbacks"] == "config.yaml:40"`.
    places: Annotated[Mapping[str, str], *_FREEZE] = Field(default_factory=_nothing, repr=False)
    environment: Environment = Field(default_factory=lambda: Environment({}), repr=False, exclude=True)

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
        folder = self.environment.get(DATA_VARIABLE)
        return Path(folder, name) if folder else Path(self.path).absolute().with_name(name)

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
