"""Replicas as containers of a compose project: one of the run's own for each drill, or one of the user's that runs."""
