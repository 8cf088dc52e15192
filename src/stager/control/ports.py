"""The ports that a control plane is built from, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.control.forges import Forges
from stager.ports.builder import Builder
from stager.ports.certificates import Certificates
from stager.ports.clock import Clock, Ids
from stager.ports.data import Data, Workbench
from stager.ports.engine import Images, Instances, Power, Prober
from stager.ports.firewall import Firewall
from stager.ports.forge import Webhooks
from stager.ports.logs import Logs
from stager.ports.machine import Machine
from stager.ports.nodes import Nodes
from stager.ports.pictures import PicturePorts
from stager.ports.router import EdgeProxy, Router
from stager.ports.secret_box import SecretBox
from stager.ports.server_commands import ServerCommands
from stager.ports.source import Sources
from stager.ports.store import Store


@dataclass(frozen=True, slots=True)
class BuildPorts:
    """The ports that builds need.

    Args:
        at_once: maximum number of concurrent builds.
        keep_revisions: how many earlier revisions of each preview keep their images.
    """

    sources: Sources
    builder: Builder
    logs: Logs
    at_once: int = 2
    keep_revisions: int = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside the control plane, as it sees it.

    Args:
        secret_box: hashes and encrypts secrets of sessions and tokens.
        data: snapshots of volumes.
        workbench: runs services on copies of them.
        server_commands: runs the server hooks of applications.
        machine: measures the machine that previews run on.
        webhooks: verifies and parses deliveries, by the name of the forge.
        forges: the forges whose API Stager may call.
        builds: None if no application is built.
        edge_proxy: the proxy in front of the front; None if there is none.
        firewall: network rules of instances; None without the root helper.
        certificates: None if Stager orders none.
        pictures: None if no pictures are taken.
        nodes: None if the engine has one machine only.
    """

    store: Store
    images: Images
    instances: Instances
    power: Power
    prober: Prober
    router: Router
    clock: Clock
    ids: Ids
    secret_box: SecretBox
    data: Data
    workbench: Workbench
    server_commands: ServerCommands
    machine: Machine
    webhooks: Mapping[str, Webhooks] = field(default_factory=dict)
    forges: Forges = field(default_factory=Forges)
    builds: BuildPorts | None = None
    edge_proxy: EdgeProxy | None = None
    firewall: Firewall | None = None
    certificates: Certificates | None = None
    pictures: PicturePorts | None = None
    nodes: Nodes | None = None
