"""The task "Services" of the configuration's reference page."""

from __future__ import annotations

from typing import ClassVar

from stager.settings.values.section import Task


class Services(Task):
    """An application's database, workers and jobs, in containers beside it. Also in the
    [repository file](repository-file.md). [Services](services.md) describes their start, their variables and
    their volumes."""

    title: ClassVar = "Services"
    nested: ClassVar[tuple[str, ...]] = (
        "services.NAME",
        "services.NAME.build",
        "services.NAME.health",
    )
    example: ClassVar = """\
images:
  shop:
    build: .
    port: 8000
    memory: 1g
    services:
      database: postgres:16                        # an entry of the catalogue
      cache: redis:7
      mail: maildev                                # its page has a host of its own
      migrate: {command: python manage.py migrate, job: true}
      worker: {command: celery -A shop worker}     # the application's own image
      search:
        image: elasticsearch:8.15.0
        env: {discovery.type: single-node}
        health: 9200
        volumes: [search-data:/usr/share/elasticsearch/data]
        memory: 512m
      admin: {build: {context: admin}, routed: 3001, health: {path: /up}}
      beat: {command: celery -A shop beat, profiles: cron}
      web:                                         # the application itself
        volumes: [uploads:/app/uploads]
    volumes: {search-data: fresh}
    profiles: []                                   # or [cron]
"""
