"""HAProxy as edge proxy: one static configuration for all previews, or one with a backend per preview."""

from stager.routers.haproxy.commands import Haproxy
from stager.routers.haproxy.router import HaproxyRouter
from stager.routers.haproxy.target import Target
from stager.routers.haproxy.template import ConfigTemplate, Site, load_template, shipped_template

__all__ = [
    "ConfigTemplate",
    "Haproxy",
    "HaproxyRouter",
    "Site",
    "Target",
    "load_template",
    "shipped_template",
]
