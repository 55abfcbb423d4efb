"""Sinks receive the records of calls, besides the ledger: webhooks, traces, objects, custom classes.

A call only puts its record into queues; everything else happens in the background.
"""
