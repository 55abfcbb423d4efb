"""What the routes of virtual keys take and answer; the names are LiteLLM's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo

from proxy.accounting.key_secrets import check_secret
from proxy.accounting.key_settings import KeySettings
from proxy.api.bodies import MAX_ITEMS, KeyId, Texts, key_id
from proxy.api.queries import ListQuery
from proxy.domain.timestamps import iso
from proxy.storage.keys import VirtualKey

_ID = "29c0dc93a5b3d8f1c64d2b8f1a7c3e5d9b0f4a6e8c2d1b3f5a7e9c0d2b4f6a8e"


def _chosen(value: Any, info: ValidationInfo) -> Any:
    return value if value is None else check_secret(value, info.field_name or "key")


def _ids(references: list[str]) -> list[str]:
    return [key_id(reference) for reference in references]


ChosenKey = Annotated[
    str | None,
    BeforeValidator(_chosen),
    Field(description="A key of your own choice: sk- and at least 128 random bits. If missing, a key is generated."),
]

# -- bodies ------------------------------------------------------------------------------------------------------------


class GenerateKey(KeySettings):
    key: ChosenKey = None


class UpdateKey(KeySettings):
    key: KeyId


class RegenerateKey(KeySettings):
    """The settings replace those of the old key."""

    key: KeyId
    new_key: ChosenKey = None


class RegenerateKeyInPath(KeySettings):
    """The settings replace those of the old key."""

    key: Any = Field(default=None, description="Ignored: the path names the key.")
    new_key: ChosenKey = None


class NamedKey(BaseModel):
    key: KeyId


class DeleteKeys(BaseModel):
    """At least one key must be named."""

    keys: Annotated[Texts, AfterValidator(_ids)] = Field(
        default=[], description="Keys, or their SHA-256.", examples=[[_ID]]
    )
    key_aliases: Texts = Field(default=[], description="Aliases of further keys.", examples=[["night batch"]])


# -- queries -----------------------------------------------------------------------------------------------------------


class KeysQuery(ListQuery):
    page: int = Field(default=1, ge=1, le=1_000_000)
    size: int = Field(default=100, ge=1, le=MAX_ITEMS)
    user_id: str | None = Field(default=None, description="Only keys of this user.")
    team_id: str | None = Field(default=None, description="Only keys of this team.")
    organization_id: str | None = Field(
        default=None, description="Only keys of this organization: none, since keys belong to no organization here."
    )
    key_alias: str | None = Field(default=None, description="Only the key with this alias.")
    key_hash: KeyId | None = Field(default=None, description="Only this key: its SHA-256, or the key itself.")
    return_full_object: bool = Field(default=False, description="Full records, not only ids.")
    include_team_keys: bool = Field(
        default=False, description="LiteLLM's command line sends it. No effect: teams have no administrators here."
    )
    include_created_by_keys: bool = Field(default=False, description="No effect: keys do not record who made them.")

    def filters(self) -> dict[str, str]:
        """Values that columns of the table must have."""
        columns = {"user_id": self.user_id, "team_id": self.team_id, "key_alias": self.key_alias, "id": self.key_hash}
        return {name: value.replace("\x00", "") for name, value in columns.items() if value is not None}


# -- answers -----------------------------------------------------------------------------------------------------------


class KeyInfo(BaseModel):
    key_name: str = Field(description="How the key is displayed.", examples=["sk-...a1b2"])
    key_alias: str | None = Field(examples=["night batch"])
    user_id: str | None
    team_id: str | None
    models: list[str] = Field(description="Model groups or aliases that the key may use. Empty: all of them.")
    tags: list[str]
    guardrails: list[str]
    metadata: dict[str, Any]
    blocked: bool
    expires: str | None = Field(description="null: never.", examples=["2026-12-23T03:51:37.513Z"])
    created_at: str = Field(examples=["2026-11-23T03:51:37.513Z"])


class Ignored(BaseModel):
    ignored: list[str] = Field(
        default=[], description="LiteLLM's fields of the body that have no effect here; missing if there are none."
    )


class _Id(BaseModel):
    key: str = Field(description="The key's SHA-256.", examples=[_ID])


class _NewKey(BaseModel):
    key: str = Field(description="The key itself, which is not shown again.", examples=["sk-…"])
    token: str = Field(description="The key's SHA-256.", examples=[_ID])
    token_id: str = Field(description="As ``token``.", examples=[_ID])


class _TokenField(BaseModel):
    token: str = Field(description="The key's SHA-256.", examples=[_ID])


# The last base's fields come first.
class GeneratedKey(Ignored, KeyInfo, _NewKey):
    pass


class UpdatedKey(Ignored, KeyInfo, _Id):
    pass


class BlockedKey(KeyInfo, _Id):
    pass


class ListedKey(KeyInfo, _TokenField):
    pass


class FoundKey(_Id):
    info: KeyInfo


class DeletedKeys(BaseModel):
    deleted_keys: list[str] = Field(description="SHA-256 of the keys.", examples=[[_ID]])


class KeyList(BaseModel):
    keys: list[str] | list[ListedKey] = Field(description="SHA-256 of the keys, or their full records.")
    total_count: int
    current_page: int
    total_pages: int


def info_of(key: VirtualKey) -> dict[str, Any]:
    """The fields of `KeyInfo`."""
    return {
        "key_name": key.key_name,
        "key_alias": key.key_alias,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "models": list(key.models),
        "tags": list(key.tags),
        "guardrails": list(key.guardrails),
        "metadata": dict(key.metadata),
        "blocked": key.blocked,
        "expires": None if key.expires is None else iso(key.expires),
        "created_at": iso(key.created),
    }
