"""Which deployments serve a call, and in which order."""
