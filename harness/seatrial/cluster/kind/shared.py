"""What the drills of a run share on Kubernetes: the cluster, its API, the PostgreSQL server, the agents, the images."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from seatrial.cluster.broker import BrokerInCluster, BrokerKind
from seatrial.cluster.kind.agent import NodeAgent
from seatrial.cluster.kind.kube import Access, Kube
from seatrial.cluster.kind.nodes import Images, Nodes
from seatrial.cluster.kind.server import PostgresPod, node_address


class SharedServices:
    """`up` ... `down`; `down` removes what `up` made, and leaves a cluster that existed before."""

    def __init__(self, *, images: Images, context: str | None = None) -> None:
        self.images = images
        self.nodes = Nodes(node_image=images.node, context=context)
        self._stack = AsyncExitStack()
        self.access: Access
        self.kube: Kube
        self.address: str
        self.server: PostgresPod
        self.agent: NodeAgent
        self._brokers: dict[str, BrokerInCluster] = {}

    async def up(self, engine_image: str) -> None:
        """The agents run in the engine's image: it is there anyway, and has a shell."""
        try:
            self._stack.push_async_callback(self.nodes.down)
            self.access = await self.nodes.up()
            self.kube = await self._stack.enter_async_context(Kube(self.access))
            self.address = await node_address(self.kube)
            await self.nodes.load([engine_image, self.images.postgres])
            self.server = PostgresPod(self.kube, image=self.images.postgres, address=self.address)
            self._stack.push_async_callback(self.server.close)
            await self.server.start()
            self.agent = NodeAgent(self.kube, self.server.namespace, engine_image)
            await self.agent.ready()
        except BaseException:
            await self.down()
            raise

    async def down(self) -> None:
        await self._stack.aclose()

    async def emptied_broker(self, kind: BrokerKind) -> BrokerInCluster:
        """Made at the first call for its kind; what earlier drills left in it is removed."""
        if kind.name not in self._brokers:
            image = self.images.brokers[kind.name]
            await self.nodes.load([image])
            broker = kind.new_pod(
                self.kube, self.agent, self.server.namespace, image=image, address=self.address
            )
            self._stack.push_async_callback(broker.close)
            await broker.start()
            self._brokers[kind.name] = broker
        await self._brokers[kind.name].clear()
        return self._brokers[kind.name]

    async def load(self, images: Iterable[str]) -> None:
        await self.nodes.load(images)
