"""Which images are databases, caches, brokers or tools, so not the application."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["", "store", "tool"]
"""Of an image: `store` answers no HTTP requests of people; `tool` has pages, but isn't the application."""

STORES = (
    *(
        "postgres",
        "postgresql",
        "postgis",
        "pgvector",
        "timescaledb",
        "timescaledb-ha",
        "pgbouncer",
        "pgpool",
    ),
    *("supabase-postgres", "mysql", "mysql-server", "mariadb", "percona", "percona-server", "cockroach"),
    *("mssql", "server", "oracle-xe", "mongo", "mongodb", "mongodb-community-server", "couchdb", "cassandra"),
    *("scylla", "neo4j", "arangodb", "influxdb", "clickhouse", "clickhouse-server", "questdb", "rethinkdb"),
    *("redis", "redis-stack", "redis-stack-server", "valkey", "keydb", "dragonfly", "memcached", "etcd"),
    *("kafka", "cp-kafka", "cp-zookeeper", "zookeeper", "redpanda", "nats", "nats-streaming", "activemq"),
    *("activemq-artemis", "rabbitmq", "mosquitto", "emqx", "nsq", "pulsar", "beanstalkd", "elasticmq"),
    *("elasticsearch", "opensearch", "solr", "meilisearch", "typesense", "sonic", "manticore", "zinc"),
    *("qdrant", "weaviate", "chroma", "milvus", "dynamodb-local", "localstack", "fake-gcs-server", "azurite"),
    *("surrealdb", "dgraph", "tidb", "yugabyte", "rqlite", "vault", "consul", "temporal", "auto-setup"),
    *("gotenberg", "imgproxy", "browserless", "chrome", "selenium", "standalone-chrome", "clamav", "coturn"),
)
"""Names of images without registry, namespace and tag."""

TOOLS = {
    **dict.fromkeys(("mailhog", "mailpit", "docker-mailpit"), 8025),
    **dict.fromkeys(("maildev", "docker-maildev", "mailcatcher", "fake-smtp-server"), 1080),
    **dict.fromkeys(("inbucket", "smtp4dev", "mailslurper", "greenmail"), None),
    **dict.fromkeys(("adminer", "phpmyadmin", "pgadmin4", "pgadmin", "pgweb", "dbgate", "cloudbeaver"), None),
    **dict.fromkeys(
        ("mongo-express", "redis-commander", "redisinsight", "redis-insight", "phpredisadmin"), None
    ),
    **dict.fromkeys(("kafka-ui", "kafdrop", "akhq", "kibana", "opensearch-dashboards", "cerebro"), None),
    **dict.fromkeys(
        ("grafana", "prometheus", "jaeger", "all-in-one", "zipkin", "loki", "tempo", "alertmanager"), None
    ),
    **dict.fromkeys(("otel-collector", "opentelemetry-collector", "opentelemetry-collector-contrib"), None),
    **dict.fromkeys(("portainer", "portainer-ce", "dozzle", "watchtower", "cadvisor", "node-exporter"), None),
    **dict.fromkeys(("flower", "bull-board", "asynqmon", "ngrok", "cloudflared", "swagger-ui"), None),
    **dict.fromkeys(("sqlpad", "metabase", "ui", "plantuml-server", "uptime-kuma"), None),
    "minio": 9001,
}
"""Names of images of tools, with the port of their pages if that isn't simply the first one."""

PAGES = {"rabbitmq": 15672}
"""Ports of stores' pages."""

_QUALIFIED = {"mssql/server": "server", "temporalio/ui": "ui", "temporalio/auto-setup": "auto-setup"}
"""Names that are those of a store or tool in one namespace only, by their last two parts."""
_AMBIGUOUS = frozenset({"server", "ui", "auto-setup", "chrome", "all-in-one"})
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
    parts = _TAG.sub("", image.lower()).split("/")
    last = parts[-1]
    if last in _AMBIGUOUS:
        return _QUALIFIED.get(
            "/".join(parts[-2:]), "" if last != "all-in-one" or "jaeger" not in image else last
        )
    return last
