"""A vendor as the table of vendors holds it: where it is, whose key opens it, which models it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.providers.base import Adapter, Capabilities


class Binder(Protocol):
    """Makes the adapter of one deployment; an adapter's class is one."""

    def __call__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> Adapter: ...


@dataclass(frozen=True, slots=True)
class Vendor:
    """A row of the table of vendors."""

    #: The prefix in ``model:``.
    name: str
    #: With the version segment, as vendors print it; None where each customer has another.
    base_url: str | None
    #: The variables that usually hold the key; the first is the one that messages name.
    key_variables: tuple[str, ...]
    models: Mapping[str, Capabilities]
    adapter: Binder
    #: There are no models but those of the table.
    closed: bool = False
    #: ``api_base`` names any server that speaks the API, rather than the vendor at another address: it gets no key from
    #: the vendor's variable, and nothing is declared of it.
    others_speak_it: bool = False
    #: Declares a model that the table does not name, such as one whose id holds a voice.
    find: Callable[[str], Capabilities | None] = lambda model: None
    #: The variable that usually holds the base URL, where each customer has another.
    base_variable: str | None = None
    #: What holds of any other model, by what a deployment of it does.
    others: Mapping[Mode, Capabilities] = field(default_factory=dict)

    @property
    def key_variable(self) -> str | None:
        return self.key_variables[0] if self.key_variables else None

    def declared(self, model: str) -> Capabilities | None:
        return self.models.get(model) or self.find(model)

    def capabilities(self, deployment: Deployment) -> Capabilities | None:
        """What is declared of the deployment's model; None for a model, or a server, of which nothing is known."""
        if not self.is_reached_by(deployment):
            return None
        return self.declared(deployment.base_model or deployment.model)

    def key(self, deployment: Deployment, environment: Mapping[str, str]) -> str | None:
        """The deployment's key, else that of the vendor's variable."""
        if deployment.api_key is not None:
            return deployment.api_key.get_secret_value()
        if not self.is_reached_by(deployment):
            return None
        # A variable that was filled from a file ends in a line's end more often than not.
        return next((environment[name].strip() for name in self.key_variables if name in environment), None)

    def base(self, deployment: Deployment, environment: Mapping[str, str]) -> str | None:
        """The deployment's base URL, else the vendor's, else that of the vendor's variable."""
        return deployment.api_base or self.base_url or environment.get(self.base_variable or "")

    def is_reached_by(self, deployment: Deployment) -> bool:
        """The deployment is the vendor's own, at whatever address, and not another server that speaks its API."""
        return not self.others_speak_it or self._is_own(deployment)

    def bind(self, deployment: Deployment, environment: Mapping[str, str]) -> Adapter:
        declared = self.capabilities(deployment) or self._other(deployment)
        base = self.base(deployment, environment) or ""
        return self.adapter(deployment, base=base, key=self.key(deployment, environment), declared=declared)

    def _other(self, deployment: Deployment) -> Capabilities:
        known = self.others.get(deployment.mode) if deployment.mode is not None else None
        return known or Capabilities(modes=frozenset(Mode))

    def _is_own(self, deployment: Deployment) -> bool:
        return deployment.api_base is None or deployment.api_base.rstrip("/") == self.base_url
