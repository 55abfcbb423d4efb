"""Who may call, and what was used."""
