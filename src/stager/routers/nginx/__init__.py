"""nginx as edge proxy: one static server for all previews, or a vhost file per preview."""

from stager.routers.nginx.commands import Nginx, http2_syntax
from stager.routers.nginx.router import NginxRouter
from stager.routers.nginx.template import VhostTemplate, load_template, server_for_all

__all__ = ["Nginx", "NginxRouter", "VhostTemplate", "http2_syntax", "load_template", "server_for_all"]
