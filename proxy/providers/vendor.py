"""A row of the table of vendors: address, key variables, models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.providers.base import Adapter, Capabilities

#: What ``base_model`` says of a server of one's own.
_OF_BASE_MODEL = (
    "max_characters", "splits", "max_tokens", "max_instructions", "speed", "formats", "response_formats", "containers",
    "max_file_mb", "max_seconds",
)  # fmt: skip


class Binder(Protocol):
    """Makes the adapter of one deployment, like the class of an adapter."""

    def __call__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> Adapter: ...


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor or a kind of server."""

    #: The prefix in ``model:``.
    name: str
    #: With the version segment, as the vendor documents it; None if every customer has a different one.
    base_url: str | None
    #: Environment variables that usually hold the key; messages name the first.
    key_variables: tuple[str, ...]
    models: Mapping[str, Capabilities]
    adapter: Binder
    #: There are no models except those in the table.
    closed: bool = False
    #: ``api_base`` may name another server with the same API. Such a server does not get the key in the vendor's
    #: variable, and nothing is declared about it except what ``base_model`` says.
    has_compatible_servers: bool = False
    #: Declares a model that is not in the table, such as one whose id contains a voice.
    find: Callable[[str], Capabilities | None] = lambda model: None
    #: The environment variable that usually holds the base URL, if every customer has a different one.
    base_variable: str | None = None
    #: What is declared about any other model, by the mode of its deployment.
    others: Mapping[Mode, Capabilities] = field(default_factory=dict)
    #: Models that ``base_model`` may name, if there are others than the vendor's own.
    base_models: Mapping[str, Capabilities] = field(default_factory=dict)

    @property
    def key_variable(self) -> str | None:
        return self.key_variables[0] if self.key_variables else None

    def declared(self, model: str) -> Capabilities | None:
        return self.models.get(model) or self.find(model)

    def capabilities(self, deployment: Deployment) -> Capabilities | None:
        """What is declared about the deployment's model; None if nothing is known about the model or the server."""
        if not self.is_reached_by(deployment):
            return None
        return self.declared(deployment.base_model or deployment.model) or self.declared(deployment.kind)

    def key(self, deployment: Deployment, environment: Mapping[str, str]) -> str | None:
        """The deployment's key, else the one in the vendor's variable."""
        if deployment.api_key is not None:
            return deployment.api_key.get_secret_value()
        if not self.is_reached_by(deployment):
            return None
        # A variable that was set from a file usually ends with a newline.
        return next((environment[name].strip() for name in self.key_variables if name in environment), None)

    def base(self, deployment: Deployment, environment: Mapping[str, str]) -> str | None:
        """The deployment's base URL, else the vendor's, else the one in the vendor's variable."""
        return deployment.api_base or self.base_url or environment.get(self.base_variable or "")

    def is_reached_by(self, deployment: Deployment) -> bool:
        """The deployment belongs to the vendor, at whatever address, and not to another server with the same API."""
        return not self.has_compatible_servers or self._is_own(deployment)

    def bind(self, deployment: Deployment, environment: Mapping[str, str]) -> Adapter:
        declared = self.capabilities(deployment) or self._like_base_model(deployment)
        base = self.base(deployment, environment) or ""
        return self.adapter(deployment, base=base, key=self.key(deployment, environment), declared=declared)

    def _like_base_model(self, deployment: Deployment) -> Capabilities:
        """A server of one's own has the limits and formats of the model that the operator names, not its voices."""
        common = self._undeclared(deployment)
        known = self._base_model(deployment.base_model) if deployment.base_model is not None else None
        if known is None or deployment.mode not in known.modes:
            return common
        limits = {name: value for name in _OF_BASE_MODEL if (value := getattr(known, name)) is not None}
        return replace(common, sse=common.sse and known.sse, **limits)

    def _base_model(self, name: str) -> Capabilities | None:
        """The model, whose name may have the prefix of a vendor, as in the table of prices."""
        names = (name, name.partition("/")[2])
        return next((known for name in names if (known := self.base_models.get(name) or self.declared(name))), None)

    def _undeclared(self, deployment: Deployment) -> Capabilities:
        common = self.others.get(deployment.mode) if deployment.mode is not None else None
        return common or Capabilities(modes=frozenset(Mode))

    def _is_own(self, deployment: Deployment) -> bool:
        return deployment.api_base is None or deployment.api_base.rstrip("/") == self.base_url
