"""What outlives a request: the database, the journal of calls, and temporary files of uploads."""
