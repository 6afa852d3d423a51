"""The embedded default: PostgreSQL from a wheel and the engine's replicas as processes on this machine.

Nothing is configured here. The chart is rendered once per replica; the container's command, variables, ports and probes
are what runs. Only the port numbers and the database's address are the machine's own, and they too go in as chart
values.

`cluster.py` is the Cluster: its life cycle and which abilities it offers. `services.py` is what the drills of a run
share, `foundation.py` what the replicas of one cluster share, `launch.py` turns chart values into a replica,
`replicas.py` keeps those that are there, `kubelet.py` restarts one. Each other module implements abilities.
"""
