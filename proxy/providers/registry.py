"""The one table of vendors, by the prefix that ``model:`` carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from proxy.config import Config, Deployment
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.local import LOCAL
from proxy.providers.openai import OPENAI
from proxy.records import Mode


class Vendor(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def key_variable(self) -> str | None: ...

    @property
    def models(self) -> Mapping[str, Capabilities]: ...

    @property
    def closed(self) -> bool: ...

    def capabilities(self, deployment: Deployment) -> Capabilities | None: ...

    def bind(self, deployment: Deployment, environment: Mapping[str, str]) -> Adapter: ...


VENDORS: Mapping[str, Vendor] = {vendor.name: vendor for vendor in (OPENAI, LOCAL)}
#: The variable that usually holds a vendor's key.
KEY_VARIABLES: Mapping[str, str] = {
    name: vendor.key_variable for name, vendor in VENDORS.items() if vendor.key_variable is not None
}

_NAMES_OF_SPEECH = re.compile(r"tts|speech|kokoro|piper|orpheus|voice", re.IGNORECASE)
_NAMES_OF_TRANSCRIPTION = re.compile(r"whisper|transcri|\bstt\b|\basr\b|parakeet", re.IGNORECASE)


def infer_mode(vendor: str, model: str) -> Mode | None:
    """What a model does, from the vendor's table or else from its name; None where that says nothing of audio."""
    declared = VENDORS[vendor].models.get(model) if vendor in VENDORS else None
    if declared is not None:
        return Mode.SPEECH if Mode.SPEECH in declared.modes else Mode.TRANSCRIPTION
    if _NAMES_OF_TRANSCRIPTION.search(model):
        return Mode.TRANSCRIPTION
    if _NAMES_OF_SPEECH.search(model):
        return Mode.SPEECH
    return None


def problems(config: Config) -> list[str]:
    """What is wrong with the deployments beyond their shape, one line each with file and line number."""
    found = []
    for deployment in config.deployments:
        vendor = VENDORS[deployment.vendor]
        declared = vendor.capabilities(deployment)
        if declared is None and vendor.closed:
            has = ", ".join(vendor.models)
            found.append(f"{deployment.where}: {deployment.vendor} has no model '{deployment.model}'; it has: {has}")
        if declared is not None and deployment.mode not in declared.modes:
            can = ", ".join(sorted(mode.value for mode in declared.modes))
            found.append(
                f"{deployment.where}: {deployment.vendor}/{deployment.model} cannot serve mode {deployment.mode}; "
                f"it can: {can}"
            )
        variable = vendor.key_variable
        if (
            variable is not None
            and deployment.api_base is None
            and deployment.api_key is None
            and variable not in config.environment
        ):
            found.append(
                f"{deployment.where}: {deployment.vendor} needs a key: set api_key, or the variable {variable}"
            )
    return found


def bind(deployment: Deployment, environment: Mapping[str, str]) -> Adapter:
    return VENDORS[deployment.vendor].bind(deployment, environment)
