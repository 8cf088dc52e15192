"""The scripts that load a dump into a service of the catalogue.

They run in the service's container, by `sh -c`, after its server has started.
"""

from __future__ import annotations

from collections.abc import Mapping

from stager.domain import catalogue

DUMP = "/stager-dump"
"""Path of the dump in the container."""

_READ = f"""set -e
read_dump="cat {DUMP}"
if [ "$(head -c 2 {DUMP} | od -An -tx1 | tr -d ' ')" = 1f8b ]; then
  gzip -t {DUMP}
  read_dump="gzip -dc {DUMP}"
fi
"""

_POSTGRES = f"""{_READ}
user="$POSTGRES_USER" database="${{POSTGRES_DB:-$POSTGRES_USER}}"
if [ "$(head -c 5 {DUMP})" = PGDMP ]; then
  exec pg_restore --exit-on-error --no-owner --no-privileges --username="$user" --dbname="$database" {DUMP}
fi
$read_dump | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$user" --dbname="$database"
"""

_MYSQL = f"""{_READ}
client="$(command -v mariadb || command -v mysql)"
export MYSQL_PWD="${{MARIADB_ROOT_PASSWORD:-$MYSQL_ROOT_PASSWORD}}"
$read_dump | "$client" --user=root "${{MARIADB_DATABASE:-$MYSQL_DATABASE}}"
"""

_SCRIPTS: Mapping[str, str] = {"postgres": _POSTGRES, "mysql": _MYSQL}


def restore_script(image: str) -> str:
    """Return the script that loads a dump into a service with this image: SQL, also compressed by gzip, or
    `pg_dump`'s custom format; empty if there is none."""
    entry = catalogue.find(image) if image else None
    return _SCRIPTS.get(entry.kind, "") if entry else ""
