"""Configuration of the JupyterHub that launches are compared with; JupyterHub reads it, not Python.

DockerSpawner's defaults, except for two settings that match Stager: the container has a network of its own,
which hooks create and remove because DockerSpawner doesn't, and it is reached at its own address.
"""

import os
from ipaddress import IPv4Network
from typing import Any

from docker.types import IPAMConfig, IPAMPool  # type: ignore[import-untyped,unused-ignore]

folder = os.environ["BENCH_FOLDER"]
subnets = IPv4Network(os.environ["BENCH_POOL"]).subnets(new_prefix=28)
label = {"stager-bench": os.environ["BENCH_INSTALLATION"]}


async def make_network(spawner: Any) -> None:
    """Create a bridge for this server, in a subnet of ours: Docker's own pools end at 31."""
    subnet = next(subnets)
    spawner.network_name = f"{os.environ['BENCH_INSTALLATION']}-{subnet.network_address}"
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))])
    await spawner.docker("create_network", spawner.network_name, driver="bridge", ipam=pool, labels=label)


async def remove_network(spawner: Any) -> None:
    """Remove the network of `make_network` once it is empty."""
    await spawner.docker("remove_network", spawner.network_name)


c = get_config()  # type: ignore[name-defined]  # noqa: F821 (JupyterHub defines it)
c.JupyterHub.bind_url = f"http://127.0.0.1:{os.environ['BENCH_PORT']}"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = int(os.environ["BENCH_HUB_PORT"])
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
c.JupyterHub.load_roles = [
    {"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "proxy"]}
]
# The answer to a launch waits until the server responds, as Stager's does.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 120}
c.ConfigurableHTTPProxy.pid_file = f"{folder}/proxy.pid"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['BENCH_API_PORT']}"
c.ConfigurableHTTPProxy.command = os.environ["BENCH_PROXY"].split()
c.Spawner.pre_spawn_hook = make_network
c.Spawner.post_stop_hook = remove_network
c.DockerSpawner.image = os.environ["BENCH_IMAGE"]
c.DockerSpawner.name_template = f"{os.environ['BENCH_INSTALLATION']}-{{username}}"
c.DockerSpawner.cmd = ["sh", "-c", os.environ["BENCH_COMMAND"]]
c.DockerSpawner.port = 3000
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.remove = True
c.DockerSpawner.extra_create_kwargs = {"labels": label}
c.DockerSpawner.extra_host_config = {"init": True}
