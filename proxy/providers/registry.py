"""The table of vendors, by the prefix in ``model:``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from proxy.config import Config, Deployment
from proxy.domain.requests import Mode
from proxy.providers.base import Adapter
from proxy.providers.vendor import Vendor
from proxy.providers.vendors.assemblyai import ASSEMBLYAI
from proxy.providers.vendors.azure import AZURE
from proxy.providers.vendors.azure_speech import AZURE_SPEECH
from proxy.providers.vendors.deepgram import DEEPGRAM
from proxy.providers.vendors.elevenlabs import ELEVENLABS
from proxy.providers.vendors.gemini import GEMINI
from proxy.providers.vendors.local import LOCAL
from proxy.providers.vendors.openai import OPENAI
from proxy.providers.vendors.rows import ROWS

VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (OPENAI, LOCAL, DEEPGRAM, ASSEMBLYAI, AZURE_SPEECH, AZURE, ELEVENLABS, GEMINI, *ROWS)
}
_NAMES_OF_SPEECH = re.compile(r"tts|speech|kokoro|piper|orpheus|voice", re.IGNORECASE)
_NAMES_OF_TRANSCRIPTION = re.compile(r"whisper|transcri|\bstt\b|\basr\b|parakeet", re.IGNORECASE)


def infer_mode(vendor: str, model: str) -> Mode | None:
    """A model's mode, from the vendor's table or else from its name; None if the name does not suggest audio."""
    declared = VENDORS[vendor].declared(model) if vendor in VENDORS else None
    if declared is not None:
        return Mode.SPEECH if Mode.SPEECH in declared.modes else Mode.TRANSCRIPTION
    if _NAMES_OF_TRANSCRIPTION.search(model):
        return Mode.TRANSCRIPTION
    if _NAMES_OF_SPEECH.search(model):
        return Mode.SPEECH
    return None


def problems(config: Config) -> list[str]:
    """What is wrong with the deployments beyond their shape, one line each with file and line number."""
    messages = []
    for deployment in config.deployments:
        vendor = VENDORS[deployment.vendor]
        declared = vendor.capabilities(deployment)
        if declared is None and vendor.closed:
            models = ", ".join(vendor.models)
            messages.append(
                f"{deployment.where}: {deployment.vendor} has no model '{deployment.model}'; it has: {models}"
            )
        if declared is not None and deployment.mode not in declared.modes:
            modes = ", ".join(sorted(mode.value for mode in declared.modes))
            messages.append(
                f"{deployment.where}: {deployment.vendor}/{deployment.model} cannot serve mode {deployment.mode}; "
                f"it can: {modes}"
            )
        if not vendor.closed and vendor.base(deployment, config.environment) is None:
            variable = f", or the variable {vendor.base_variable}" if vendor.base_variable else ""
            messages.append(f"{deployment.where}: {deployment.vendor} needs an address: set api_base{variable}")
        needs_key = vendor.key_variables and (deployment.api_base is None or not vendor.has_compatible_servers)
        if needs_key and not has_key(deployment, config.environment):
            messages.append(
                f"{deployment.where}: {deployment.vendor} needs a key: set api_key, or the variable "
                f"{vendor.key_variable}"
            )
        key = vendor.key(deployment, config.environment)
        if key is not None and not (key.isascii() and key.isprintable()):
            messages.append(
                f"{deployment.where}: the key of {deployment.vendor} in the environment has characters that a header "
                "cannot carry (only printable ASCII can be sent)"
            )
    return messages


def has_key(deployment: Deployment, environment: Mapping[str, str]) -> bool:
    has_token = deployment.azure_ad_token is not None
    return has_token or VENDORS[deployment.vendor].key(deployment, environment) is not None


def bind(deployment: Deployment, environment: Mapping[str, str]) -> Adapter:
    return VENDORS[deployment.vendor].bind(deployment, environment)
