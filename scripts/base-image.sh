#!/usr/bin/env bash
# Makes a base image from the distribution's own packages, without any image registry: stager-base/python:1
# (Python, git, bash) or stager-base/static:1 (busybox alone). Each package's files are unpacked into a folder,
# with all that they depend on, and the folder becomes the image. Nothing of it needs root.
# usage: scripts/base-image.sh python|static
set -Eeuo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

STEP="beginning"
trap 'printf "✗ %s failed while %s (line %s).\n" "$0" "$STEP" "$LINENO" >&2' ERR
step() { STEP="$1"; }

# What the image is made for decides which packages it begins with; all else follows from them.
declare -A ROOTS=([python]="busybox-static bash git python3" [static]="busybox-static")

# Package managers, documentation and the like, which an image does without; nothing that only they need is followed.
NOT_FOLLOWED="awk base-files coreutils dash debconf debconf-2.0 debianutils dpkg gawk git-man install-info liberror-perl
  mailcap mawk media-types mime-support netbase original-awk perl perl-base tar tzdata"

# The packages of the closure, from apt's own knowledge of this release. Of alternatives the first counts.
closure() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
    awk -v roots="$*" -v skipped="$NOT_FOLLOWED" '
      function name(word) { gsub(/[<>]/, "", word); sub(/:any$/, "", word); return word }
      BEGIN { for (i = split(skipped, list); i; i--) seen[list[i]] = 1 }
      /^[^ ]/ { package = name($1); satisfied = 0; next }
      /^ [ |](Pre)?Depends:/ {
        if (!satisfied) { needs[package] = needs[package] " " name($2); wanted = ($2 ~ /^</) ? name($2) : "" }
        satisfied = /^ \|/; next
      }
      /^    / { if (wanted != "" && !(wanted in provider)) provider[wanted] = name($1) }
      END {
        waiting = split(roots, queue)
        for (next_one = 1; next_one <= waiting; next_one++) {
          package = queue[next_one]
          if (package in seen) continue
          seen[package] = 1
          if (package in provider) { queue[++waiting] = provider[package]; continue }
          print package
          count = split(needs[package], list, " ")
          for (i = 1; i <= count; i++) queue[++waiting] = list[i]
        }
      }'
}

download() {
  local packages
  mapfile -t packages < <(closure "$@")
  [ "${#packages[@]}" -ge "$#" ] && (cd "$DEBS" && quietly apt-get -q -o APT::Sandbox::User="$(id -un)" download "${packages[@]}")
}

# With lists that are missing or out of date apt doesn't find the files: once more, with fresh ones.
fetch_packages() {
  download "$@" 2>/dev/null && return 0
  may_be_root || fail "apt-get could not download the packages of the base image." "Have somebody run apt-get update, then run this again."
  refresh_package_lists
  rm -f "$DEBS"/*.deb
  download "$@" || fail "apt-get could not download the packages of the base image; its last lines are above." \
    "Check that /etc/apt names a mirror that this machine can reach, then run this again."
}

make_skeleton() {
  local folder
  mkdir -p "$TREE"/{app,dev,etc/ssl/certs,proc,root,run,sys,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64,var/tmp}
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$TREE/$folder"; done
  chmod 1777 "$TREE/tmp" "$TREE/var/tmp"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh app:x:1000:1000:app:/app:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false >"$TREE/etc/passwd"
  printf '%s\n' root:x:0: app:x:1000: nogroup:x:65534: >"$TREE/etc/group"
  echo "hosts: files dns" >"$TREE/etc/nsswitch.conf"
  cat /etc/ssl/certs/ca-certificates.crt >"$TREE/etc/ssl/certs/ca-certificates.crt"
}

unpack() {
  local package
  for package in "$DEBS"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$TREE" --no-same-owner --keep-directory-symlink \
      --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
      --exclude='./usr/lib/python3*/test' --exclude='./usr/lib/python3*/idlelib' --exclude='./usr/lib/python3*/lib2to3'
  done
}

# busybox under the name of every tool that isn't there in full.
link_busybox() {
  local tool
  for tool in $("$TREE/bin/busybox" --list); do
    [ -e "$TREE/usr/bin/$tool" ] || [ -e "$TREE/usr/sbin/$tool" ] || ln -s busybox "$TREE/usr/bin/$tool"
  done
}

import() {
  tar --create --directory "$TREE" --owner=0 --group=0 --numeric-owner . |
    docker import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin PYTHONUNBUFFERED=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
      --change 'WORKDIR /app' --change 'CMD ["sh"]' --change "LABEL stager.recipe=$1" - "$2"
}

in_image() { docker run --rm --network none "$@"; }

# Compiled once here rather than at each start of each preview, by the very Python that will read it.
compile_python() {
  local library
  library="/usr/lib/$(basename "$(readlink "$TREE/usr/bin/python3")")"
  docker run --name "$BUILDER" --network none "$1" python3 -m compileall -q "$library" /usr/lib/python3 >/dev/null
  docker commit --change 'CMD ["sh"]' "$BUILDER" "$1" >/dev/null
}

verify() {
  step "trying the finished image $1"
  in_image "$1" sh -c 'echo busybox' >/dev/null
  if [ "$2" = python ]; then
    in_image "$1" sh -ec 'python3 --version; git --version; bash --version | head -n 1; python3 -c "import ssl, sqlite3, http.server"'
  fi
}

clean_up() {
  rm -rf "$folder"
  docker rm --force "$BUILDER" >/dev/null 2>&1 || true
  docker rmi --force "$fresh" >/dev/null 2>&1 || true
}

name="${1:-none}"
[ -n "${ROOTS[$name]:-}" ] || fail "There is no recipe for a base image \"$name\"." "usage: scripts/base-image.sh python|static"
read -ra roots <<<"${ROOTS[$name]}"
image="stager-base/$name:1"
recipe="$(cat "$0" /etc/os-release /etc/ssl/certs/ca-certificates.crt | sha256sum | cut -c1-16)"
if [ "$(docker image inspect --format '{{index .Config.Labels "stager.recipe"}}' "$image" 2>/dev/null)" = "$recipe" ]; then exit 0; fi

is_debian_like || fail "The base image is made of Debian or Ubuntu packages, and there is no apt-get here." "Make an image $image in another way: it needs python3, git and bash."
engine_answers || fail "No Docker engine answers." "Run scripts/setup first."
say "making the base image $image from the distribution's packages"
folder="$(mktemp -d)"
fresh="stager-base/$name:unfinished-$$"
BUILDER="stager-base-$name-$$"
trap clean_up EXIT
umask 022
DEBS="$folder/debs" TREE="$folder/tree"
mkdir "$DEBS" "$TREE"
step "downloading the packages for ${roots[*]}"
fetch_packages "${roots[@]}"
step "unpacking the packages"
make_skeleton
unpack
link_busybox
step "importing the image"
import "$recipe" "$fresh" >/dev/null
if [ "$name" = python ]; then
  step "compiling the Python library"
  compile_python "$fresh"
fi
verify "$fresh" "$name"
old="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)"
docker tag "$fresh" "$image"
if [ -n "$old" ]; then docker rmi "$old" >/dev/null 2>&1 || true; fi # it stays while something is made of it
say "made $image ($(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%d MB", $1 / 1000000}'))"
