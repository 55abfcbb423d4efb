"""Where the records of calls go besides the ledger: webhooks, traces, objects, classes of one's own.

Nothing here is on the way of a call: what a call does is to put its record into queues.
"""
