"""What a reloaded configuration changes."""

from __future__ import annotations

from proxy.config.fields import AT_START
from proxy.config.models import Config, Deployment, GeneralSettings


def is_applied_at_start(name: str) -> bool:
    """Whether a change of the setting in `general_settings` takes effect only after a restart."""
    return AT_START in GeneralSettings.model_fields[name].metadata


def waiting_for_restart(started: Config, loaded: Config) -> tuple[str, ...]:
    """The settings that differ from those the process was started with, and that a reload does not apply."""
    return tuple(
        f"general_settings.{name}"
        for name in GeneralSettings.model_fields
        if is_applied_at_start(name) and _value(started, name) != _value(loaded, name)
    )


def _value(config: Config, name: str) -> object:
    """The path of a database or a folder that the settings do not name depends on the environment."""
    return getattr(config, name) if name in ("database_url", "ledger_dir") else getattr(config.general, name)


def reconnected(old: Config, new: Config) -> list[str]:
    """The ids of the deployments whose calls go elsewhere or have another key than before."""
    if dict(old.environment) != dict(new.environment):  # it may hold keys and addresses
        return [deployment.id for deployment in _deployments(new)]
    known = {deployment.id: deployment.connection for deployment in _deployments(old)}
    return [deployment.id for deployment in _deployments(new) if known.get(deployment.id) != deployment.connection]


def _deployments(config: Config) -> tuple[Deployment, ...]:
    return (*config.deployments, *(one for group in config.translators.values() for one in group))
