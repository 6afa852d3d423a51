"""A real Kubernetes: the chart installed by Helm, PostgreSQL beside it, faults through the API and the nodes.

`nodes.py` makes or finds the cluster, `kube.py` talks to its API, `server.py` is the PostgreSQL that the drills of a
run share (their broker's pod is in the broker's own folder, as `cluster/kafka/pod.py`), `agent.py` reaches processes on
the nodes, `network.py` their connections, and `shared.py` holds these together; `release.py` is the chart installed,
`boots.py` watches one start of it, `replica_slots.py` knows which pod is which replica, `reachability.py` whether one
is reached from here and why not, `eviction.py` empties a node, `exposures.py` lists where a secret might show, and
`cluster.py` is a Cluster made of them.
"""
