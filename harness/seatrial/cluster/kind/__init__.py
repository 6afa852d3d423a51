"""A real Kubernetes: the chart installed by Helm, PostgreSQL beside it, faults through the API and the nodes.

`nodes.py` makes or finds the cluster, `kube.py` talks to its API, `server.py` is the PostgreSQL that the drills of a
run share (their broker's pod is in the broker's own folder, as `cluster/kafka/pod.py`), `agent.py` reaches processes on
the nodes, `network.py` their connections, and `shared.py` holds these together for the clusters of a run, which
`services.py` makes. `release.py` is the chart as Helm installs it, `replica_slots.py` knows which pod is which replica,
`reachability.py` whether one is reached from here and why not, and `installation.py` is one release with its namespace
and its database. On that the abilities are built: `processes.py`, `database.py`, `pods.py`, `boots.py`, `siblings.py`,
`upgrade.py`, `scale.py`, `credentials.py` (with `exposures.py`, where a secret might show) and `drain.py` (with
`eviction.py`). `cluster.py` is the Cluster made of them.
"""
