"""Which images are databases, caches, brokers or tools, so not the application."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["", "store", "tool"]
"""What an image is for: `store` is a database, cache, broker or the like, without pages for people; `tool`
has pages, but isn't the application; empty for anything else."""

_STORES = """
    postgres postgresql postgis pgvector timescaledb timescaledb-ha pgbouncer pgpool
    supabase-postgres mysql mysql-server mariadb percona percona-server cockroach mssql server
    oracle-xe mongo mongodb mongodb-community-server couchdb cassandra scylla neo4j arangodb
    influxdb clickhouse clickhouse-server questdb rethinkdb redis redis-stack redis-stack-server
    valkey keydb dragonfly memcached etcd kafka cp-kafka cp-zookeeper zookeeper redpanda nats
    nats-streaming activemq activemq-artemis rabbitmq mosquitto emqx nsq pulsar beanstalkd elasticmq
    elasticsearch opensearch solr meilisearch typesense sonic manticore zinc qdrant weaviate chroma
    milvus dynamodb-local localstack fake-gcs-server azurite surrealdb dgraph tidb yugabyte rqlite
    vault consul temporal auto-setup gotenberg imgproxy browserless chrome selenium
    standalone-chrome clamav coturn
"""
STORES = frozenset(_STORES.split())
"""Names of images without registry, namespace and tag."""

_TOOLS = {
    8025: "mailhog mailpit docker-mailpit",
    1080: "maildev docker-maildev mailcatcher fake-smtp-server",
    9001: "minio",
    None: """
        inbucket smtp4dev mailslurper greenmail adminer phpmyadmin pgadmin4 pgadmin pgweb dbgate
        cloudbeaver mongo-express redis-commander redisinsight redis-insight phpredisadmin kafka-ui
        kafdrop akhq kibana opensearch-dashboards cerebro grafana prometheus jaeger all-in-one zipkin
        loki tempo alertmanager otel-collector opentelemetry-collector opentelemetry-collector-contrib
        portainer portainer-ce dozzle watchtower cadvisor node-exporter flower bull-board asynqmon ngrok
        cloudflared swagger-ui sqlpad metabase ui plantuml-server uptime-kuma
    """,
}
TOOLS = {name: port for port, names in _TOOLS.items() for name in names.split()}
"""Names of images of tools, with the port of their pages if that isn't the first one."""

PAGES = {"rabbitmq": 15672}
"""Ports of stores' pages."""

_QUALIFIED = {
    "mssql/server": "server",
    "browserless/chrome": "chrome",
    "temporalio/ui": "ui",
    "temporalio/auto-setup": "auto-setup",
    "jaegertracing/all-in-one": "all-in-one",
}
"""Names that are those of a store or tool in one namespace only, by their last two parts."""
_TAG = re.compile(r"(?::[^:/]*)?(?:@.*)?$")


def kind_of(image: str) -> Kind:
    """Return what an image is for, by its name; empty for an application's, or if it is unknown."""
    name = _name(image)
    if name in STORES:
        return "store"
    return "tool" if name in TOOLS else ""


def page_of(image: str) -> int | None:
    """Return the port of the pages of a store or tool; None if it isn't known."""
    return {**TOOLS, **PAGES}.get(_name(image))


def _name(image: str) -> str:
    """The name without registry, namespace and tag; empty if it has another meaning in this namespace."""
    parts = _TAG.sub("", image.lower()).split("/")
    if parts[-1] in _QUALIFIED.values():
        return _QUALIFIED.get("/".join(parts[-2:]), "")
    return parts[-1]
