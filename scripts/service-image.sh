#!/usr/bin/env bash
# Makes the image of a service from the distribution's own packages, without an image registry, under the name that the
# public image has, and with the part of its behaviour that Stager's catalogue of services needs: postgres, mariadb,
# redis, valkey (where the distribution has it) or rabbitmq, tagged with the version of the package (postgres:15), or
# maildev/maildev:2.2.1 from npm. scripts/services has the entrypoints. An image of this name that was pulled is left
# alone. Prints the image's name as the last line.
# usage: scripts/service-image.sh postgres|mariadb|redis|valkey|rabbitmq|maildev
set -Eeuo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/image-lib.sh
. "$ROOT/scripts/image-lib.sh"

# setpriv, of util-linux, changes the user as gosu does in the public images.
declare -A ROOTS=([postgres]="bash busybox-static postgresql util-linux" [mariadb]="bash busybox-static mariadb-server util-linux"
  [redis]="busybox-static redis-server util-linux" [valkey]="busybox-static valkey-server util-linux"
  [rabbitmq]="bash busybox-static rabbitmq-server util-linux" [maildev]="busybox-static libstdc++6")
declare -A PACKAGE=([postgres]=postgresql [mariadb]=mariadb-server [redis]=redis-server [valkey]=valkey-server [rabbitmq]=rabbitmq-server)
# What only other uses of the packages need: the compiler of queries, init scripts, replication, monitoring.
ALSO_NOT_FOLLOWED="adduser cron iproute2 init-system-helpers libcap2-bin libllvm14 libllvm19 libz3-4 logrotate lsb-base lsof
  passwd postgresql-common psmisc python3 rsync socat ssl-cert sysvinit-utils ucf usrmerge"

NOT_FOLLOWED="${NOT_FOLLOWED/tzdata/}" # databases know time zones

# A user that owns the data, with the number that the public image has.
declare -A ACCOUNT=([postgres]=postgres:999 [mariadb]=mysql:999 [redis]=redis:999 [valkey]=valkey:999 [rabbitmq]=rabbitmq:999 [maildev]=node:1000)

declare -A CHANGES=(
  [postgres]='ENV PGDATA=/var/lib/postgresql/data|VOLUME /var/lib/postgresql/data|EXPOSE 5432|CMD ["postgres"]'
  [mariadb]='VOLUME /var/lib/mysql|EXPOSE 3306|CMD ["mariadbd"]'
  [redis]='VOLUME /data|WORKDIR /data|EXPOSE 6379|CMD ["redis-server"]'
  [valkey]='VOLUME /data|WORKDIR /data|EXPOSE 6379|CMD ["valkey-server"]'
  [rabbitmq]='ENV HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-|VOLUME /var/lib/rabbitmq|EXPOSE 5672|CMD ["rabbitmq-server"]'
  [maildev]='ENV MAILDEV_WEB_PORT=1080 MAILDEV_SMTP_PORT=1025|USER node|EXPOSE 1025 1080|ENTRYPOINT ["node", "/usr/lib/maildev/node_modules/maildev/bin/maildev"]'
)

# The version of the package, without epoch and revision, as the public image is tagged: 15, 10.11, 7.0, 3.10.
tag() {
  local version
  if [ "$name" = maildev ]; then
    echo 2.2.1
    return
  fi
  version="$(apt-cache show --no-all-versions "${PACKAGE[$name]}" 2>/dev/null || true)"
  version="$(sed -n 's/^Version: *\([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p' <<<"$version")"
  case "$name" in
    postgres) echo "${version%%.*}" ;;
    *) echo "$version" | cut -d. -f1-2 ;;
  esac
}

add_account() {
  local account="${ACCOUNT[$name]%:*}" number="${ACCOUNT[$name]#*:}"
  sed -i "/^[^:]*:x:$number:/d" "$TREE/etc/passwd" "$TREE/etc/group"
  echo "$account:x:$number:$number::/:/bin/sh" >>"$TREE/etc/passwd"
  echo "$account:x:$number:" >>"$TREE/etc/group"
}

# maildev and what it needs, at the versions of the lock file, by the npm of the same wheel as stager-base/node.
install_maildev() {
  mkdir "$TREE/usr/lib/maildev"
  cp "$RECIPES"/maildev/package*.json "$TREE/usr/lib/maildev/"
  quietly env PATH="$TREE/usr/bin:$PATH" npm_config_update_notifier=false npm_config_cache="$folder/npm" \
    "$TREE/usr/bin/node" "$TREE/usr/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$TREE/usr/lib/maildev" \
    --ignore-scripts --no-audit --no-fund || fail "npm could not install maildev; its last lines are above." \
    "Check that this machine reaches its npm registry, then run this again."
}

# The programs of PostgreSQL have their version in their folder's name, which Debian's wrappers know; they are Perl.
link_programs() {
  local program
  for program in "$TREE"/usr/lib/postgresql/*/bin/* "$TREE"/usr/lib/rabbitmq/bin/*; do
    [ -e "$program" ] || continue
    mkdir -p "$TREE/usr/local/bin"
    ln -sf "${program#"$TREE"}" "$TREE/usr/local/bin/$(basename "$program")"
  done
}

# Settings of the distribution, which bind to the loopback address, and of the public images, which don't.
settings_of_the_image() {
  rm -rf "$TREE"/etc/mysql/mariadb.conf.d "$TREE"/etc/redis "$TREE"/etc/valkey
  mkdir -p "$TREE"/docker-entrypoint-initdb.d "$TREE"/var/run "$TREE"/var/lib
  if [ -f "$RECIPES/$name" ]; then install -D -m 755 "$RECIPES/$name" "$TREE/usr/local/bin/docker-entrypoint.sh"; fi
}

import() {
  local change changes=(--change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin LANG=C.UTF-8' --change "LABEL stager.recipe=$recipe")
  if [ -f "$RECIPES/$name" ]; then changes+=(--change 'ENTRYPOINT ["docker-entrypoint.sh"]'); fi
  while read -r change; do changes+=(--change "$change"); done < <(tr '|' '\n' <<<"${CHANGES[$name]}")
  tar --create --directory "$TREE" --owner=0 --group=0 --numeric-owner . | docker import "${changes[@]}" - "$image"
}

clean_up() { rm -rf "$folder"; }

RECIPES="$ROOT/scripts/services"
name="${1:-none}"
[ -n "${ROOTS[$name]:-}" ] || fail "There is no recipe for an image of the service \"$name\"." \
  "usage: scripts/service-image.sh postgres|mariadb|redis|valkey|rabbitmq|maildev"
is_debian_like || fail "The image is made of Debian or Ubuntu packages, and there is no apt-get here." "Pull the public image of $name instead."
engine_answers || fail "No Docker engine answers." "Run scripts/setup first."
version="$(tag)"
[ -n "$version" ] || fail "The distribution has no package ${PACKAGE[$name]}." "Run apt-get update as root, or use a newer release."
case "$name" in
  valkey | maildev) image="$name/$name:$version" ;;
  *) image="$name:$version" ;;
esac
mapfile -t files < <(find "$RECIPES/$name" -type f | sort)
recipe="$(cat "$0" "$ROOT/scripts/image-lib.sh" "${files[@]}" "$ROOT/requirements/node.txt" /etc/os-release | sha256sum | cut -c1-16)"
made_of="$(docker image inspect --format '{{index .Config.Labels "stager.recipe"}}' "$image" 2>/dev/null || echo none)"
if [ "$made_of" = "$recipe" ] || [ -z "$made_of" ]; then
  echo "$image"
  exit 0
fi
say "making the image $image from the distribution's packages" >&2
folder="$(mktemp -d)"
trap clean_up EXIT
umask 022
DEBS="$folder/debs" TREE="$folder/tree"
mkdir "$DEBS" "$TREE"
read -ra roots <<<"${ROOTS[$name]}"
step "downloading the packages for ${roots[*]}"
fetch_packages "${roots[@]}"
if [ "$name" = maildev ]; then
  step "downloading Node.js"
  fetch_node
fi
step "unpacking the packages"
make_skeleton
unpack
add_account
if [ "$name" = maildev ]; then
  unpack_node
  step "installing maildev"
  install_maildev
fi
link_programs
settings_of_the_image
link_busybox
step "importing the image"
import >/dev/null
say "made $image ($(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%d MB", $1 / 1000000}'))" >&2
echo "$image"
