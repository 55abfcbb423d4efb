"""Translates a transcript into English, by a chat model."""
