"""Everything in the harness that is about Apache Kafka; only `seatrial/cluster/brokers.py` imports it.

`names.py` says how a job type becomes a topic and a consumer group, `message.py` reads what is in a topic, `access.py`
is how a client reaches a broker, `admin.py` what the harness itself asks of one, `consumer.py` what a worker takes
from it, and `values.py` what the chart is told. `broker.py` is what every Kafka has, whoever runs it: `external.py` one
that runs already, `server.py` one as a process on this machine (`installation.py` fetches it), `pod.py` one on
Kubernetes, which is here and not in `cluster/kind` so that a broker is one folder. `settings.py` is common to the last
two, `logins.py` says whom a secured one turns away, and `entry.py` tells the registry what there is.
"""
