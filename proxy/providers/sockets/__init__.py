"""Vendors behind a WebSocket: state machines, messages in, messages and audio or text out."""
