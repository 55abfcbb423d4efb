"""The deployments of chat models, which translate: where their vendors' chat APIs are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.config import Config, Deployment
from proxy.providers.registry import VENDORS, has_key
from proxy.providers.vendors.chat import ChatAdapter

#: Vendors with OpenAI's chat API, and its base URL if that is not the one of their audio API.
BASES: Mapping[str, str | None] = {
    "openai": None,
    "azure": None,
    "groq": None,
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "together_ai": None,
    "deepinfra": None,
    "openrouter": None,
    "mistral": None,
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "hosted_vllm": None,
    "localai": None,
    "openai_compatible": None,
}


def bind(deployment: Deployment, environment: Mapping[str, str]) -> ChatAdapter:
    key = VENDORS[deployment.vendor].key(deployment, environment)
    return ChatAdapter(deployment, base=_base(deployment, environment) or "", key=key)


def _base(deployment: Deployment, environment: Mapping[str, str]) -> str | None:
    own = deployment.api_base or BASES[deployment.vendor]
    return own or VENDORS[deployment.vendor].base(deployment, environment)


def problems(config: Config) -> list[str]:
    """What is wrong with the deployments that translate, one line each with file and line number."""
    messages = []
    for deployment in (one for group in config.translators.values() for one in group):
        where, vendor, row = deployment.where, deployment.vendor, VENDORS[deployment.vendor]
        if vendor not in BASES:
            remedy = f"if its server speaks it, write openai/{deployment.model} and api_base"
            messages.append(f"{where}: {vendor} has no OpenAI-compatible chat API; {remedy}")
            continue
        if _base(deployment, config.environment) is None:
            messages.append(f"{where}: {vendor} needs an address: set api_base")
        needs_key = row.key_variables and (deployment.api_base is None or not row.has_compatible_servers)
        if needs_key and not has_key(deployment, config.environment):
            messages.append(f"{where}: {vendor} needs a key: set api_key, or the variable {row.key_variable}")
    return messages
