"""A real Kubernetes: the chart installed by Helm, PostgreSQL beside it, faults through the API and the nodes.

`nodes.py` makes or finds the cluster, `kube.py` talks to its API, `server.py` is the PostgreSQL that the drills of a
run share, `agent.py` reaches processes on the nodes, and `ground.py` holds these together; `release.py` is the chart
installed, `roster.py` knows which pod is which replica, and `cluster.py` is a Cluster made of them.
"""
