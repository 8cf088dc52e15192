"""The Docker engine, by its API. Only resources with this installation's label are touched."""

from stager.engines.docker.build.builder import BuildxBuilder
from stager.engines.docker.client import connect, data_root
from stager.engines.docker.data import DockerData, DockerWorkbench
from stager.engines.docker.images import DockerImages
from stager.engines.docker.instances import DockerInstances
from stager.engines.docker.memory import DockerMemory
from stager.engines.docker.network.firewall import HelperFirewall
from stager.engines.docker.network.pool import NetworkPool, check_pool
from stager.engines.docker.power import DockerPower

__all__ = [
    "BuildxBuilder",
    "DockerData",
    "DockerImages",
    "DockerInstances",
    "DockerMemory",
    "DockerPower",
    "DockerWorkbench",
    "HelperFirewall",
    "NetworkPool",
    "check_pool",
    "connect",
    "data_root",
]
