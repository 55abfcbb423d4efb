"""Finds the vendor's adapter for a model and the caller's settings. Every error is raised before any request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from proxy.config import Deployment, Environment
from proxy.config.litellm import PROVIDERS
from proxy.config.model_names import ModelName, split_model, unknown_vendor
from proxy.domain.requests import Mode
from proxy.errors import BadRequest, ModelNotFound, Unauthorized
from proxy.matching import BoundDeployment
from proxy.providers.registry import VENDORS
from proxy.providers.vendor import Vendor
from proxy.sdk.clients import Client

MAX_RETRIES: Final = 2
TIMEOUT: Final = 600.0
#: The variables from which a vendor's own SDK reads its base URL.
BASE_VARIABLES: Final[Mapping[str, str]] = {"openai": "OPENAI_BASE_URL"}
_MAX_TIMEOUT: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is reached; the names are those of the functions' arguments."""

    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    project: str | None = None
    #: None: `MAX_RETRIES`.
    max_retries: int | None = None
    #: Seconds for one attempt; None: a day.
    timeout: float | None = TIMEOUT
    client: Client | None = None


def bind(model: str, mode: Mode, settings: Settings) -> BoundDeployment:
    """Raises BadRequest or ModelNotFound if it cannot be called, Unauthorized if the vendor's key is missing."""
    environment = Environment(os.environ)
    has_own_server = bool(settings.api_base or environment.get(BASE_VARIABLES["openai"]))
    vendor_name, name = _vendor_and_model(model, has_own_server=has_own_server)
    vendor = VENDORS[vendor_name]
    if vendor.closed and name not in vendor.models:
        raise ModelNotFound(f"{vendor_name} has no model '{name}'; it has: {', '.join(vendor.models)}.")
    base, key = settings.api_base or None, settings.api_key or None
    if base is None:
        base = environment.get(BASE_VARIABLES.get(vendor_name, ""))
        key = key or _usual_key(vendor, environment, needed=base is None)
    deployment = _deployment(
        group=model,
        vendor=vendor_name,
        model=name,
        mode=mode,
        api_base=base,
        api_key=key,
        organization=settings.organization,
        project=settings.project,
        # The caller is the owner of the vendor's key.
        allow_any_voice=True,
        max_retries=MAX_RETRIES if settings.max_retries is None else settings.max_retries,
        timeout=_MAX_TIMEOUT if settings.timeout is None else settings.timeout,
    )
    if vendor.base(deployment, environment) is None and not vendor.closed:
        raise BadRequest(f"{vendor_name} needs an address: pass api_base.", param="api_base")
    bound = BoundDeployment(deployment, vendor.bind(deployment, environment))
    if mode not in bound.adapter.capabilities.modes:
        supported = ", ".join(sorted(bound.adapter.capabilities.modes))
        raise BadRequest(f"The model '{model}' does not support {mode}; it supports: {supported}.", param="model")
    return bound


def _usual_key(vendor: Vendor, environment: Environment, *, needed: bool) -> str | None:
    """The key in the environment. It is sent to the vendor's own server, or to the one that the environment names."""
    key = next((environment[name] for name in vendor.key_variables if name in environment), None)
    if key is None and vendor.key_variables and needed:
        raise Unauthorized(
            f"The key for {vendor.name} is missing: set the variable {vendor.key_variable} or pass api_key.",
            param="api_key",
        )
    return key


def _vendor_and_model(model: str, *, has_own_server: bool) -> ModelName:
    """Read like ``model`` in a configuration: a name without a vendor's prefix is OpenAI's."""
    vendor, name = split_model(model, VENDORS, has_own_server=has_own_server)
    if not name or name.isspace():
        raise ModelNotFound(f"'{model}' does not name a model.")
    if vendor in VENDORS:
        return ModelName(vendor, name)
    if vendor in PROVIDERS:
        raise ModelNotFound(
            f"There is no vendor '{vendor}'; the vendors are: {', '.join(VENDORS)}. If its server speaks OpenAI's API, "
            f"use openai/{name} and api_base."
        )
    raise ModelNotFound(unknown_vendor(vendor, name, VENDORS, has_own_server=has_own_server))


def _deployment(**fields: Any) -> Deployment:
    try:
        return Deployment(id="sdk", **fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        name = "model" if name == "group" else name
        why = first["msg"].removeprefix("Value error, ")
        raise BadRequest(f"'{name}' is invalid: {why}.", param=name, code="invalid_value") from None
