"""Logs and metrics for operators: a structured line for each call, and Prometheus. Never content or keys."""

from proxy.telemetry.log import configure_logging
from proxy.telemetry.telemetry import Telemetry
from proxy.telemetry.workers import WorkerSlot

__all__ = ["Telemetry", "WorkerSlot", "configure_logging"]
