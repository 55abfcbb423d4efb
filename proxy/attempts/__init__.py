"""Executes a plan once: runs the vendor's flow, and adds what the vendor lacks."""

from __future__ import annotations

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.health import HealthTracker
from proxy.attempts.runner import AttemptRunner
from proxy.attempts.voices import ListedVoice, VoiceLists

__all__ = ["AttemptRunner", "HealthTracker", "ListedVoice", "RunningAttempt", "VoiceLists"]
