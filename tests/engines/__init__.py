"""Real engines in virtual environments of their own, compared with the local backend."""
