"""What operators see of the calls: one structured log line each, and Prometheus metrics. Never content, never a key."""

from proxy.telemetry.log import configure_logging
from proxy.telemetry.telemetry import Telemetry
from proxy.telemetry.workers import WorkerSlot

__all__ = ["Telemetry", "WorkerSlot", "configure_logging"]
