"""The database's history, applied by Alembic; ``database`` runs it."""
