"""nginx before the front: one server for all previews, which never changes, or a vhost file for each."""

from stager.routers.nginx.commands import Nginx, http2_syntax
from stager.routers.nginx.router import NginxRouter
from stager.routers.nginx.template import VhostTemplate, load_template, server_for_all

__all__ = ["Nginx", "NginxRouter", "VhostTemplate", "http2_syntax", "load_template", "server_for_all"]
