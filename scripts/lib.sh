# shellcheck shell=bash
# Functions that the scripts share: messages, packages, the virtual environment, the Docker engine, the root helper.
# It is sourced, not run. What is installed already is used unchanged.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
WORK="$ROOT/.stager"          # everything that the scripts write, besides .venv
ENGINE_LOG="$WORK/dockerd.log"
ENGINE_IS_OURS="${STAGER_ENGINE_IS_OURS:-}" # set once this run has started the engine
ARGUMENTS=("$@")              # of the script that sources this
APT_IS_FRESH=""               # set once this run has brought apt's package lists up to date
PATH="$PATH:/usr/sbin:/sbin"  # where dockerd and iptables are, which users other than root don't look

say() { printf '%s\n' "· $*"; }

# fail WHAT HINT: prints what happened and what to do, and exits.
fail() {
  printf '\n%s\n  %s\n' "✗ $1" "$2" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# --- rights -----------------------------------------------------------------------------------------------

may_be_root() { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi; }

# --- packages of the distribution -------------------------------------------------------------------------

is_debian_like() { has apt-get && has dpkg-deb; }

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=yes apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

# Runs a command whose output only matters when it fails.
quietly() {
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] || tail -n 15 "$log" >&2
  rm -f "$log"
  return "$status"
}

refresh_package_lists() {
  [ -z "$APT_IS_FRESH" ] || return 0
  say "reading the distribution's package lists (apt-get update)"
  quietly apt_get update || fail "apt-get update failed; its last lines are above." \
    "Check that this machine is online and that /etc/apt names a mirror it can reach, then run this again."
  APT_IS_FRESH=yes
}

# The packages of which the command or file isn't there, one a line. Asking for the thing and not for the
# package leaves alone what was installed in another way, such as Docker's own packages. nginx, HAProxy, git-lfs, a
# registry, wrk, btrfs, debootstrap, faketime, an SSH server (of the nodes of a test cluster) and pebble (an ACME server
# for tests, with the name server knot) are for scripts that set NEEDS_NGINX, NEEDS_HAPROXY, NEEDS_GIT_LFS,
# NEEDS_REGISTRY, NEEDS_WRK, NEEDS_BTRFS, NEEDS_DEBOOTSTRAP, NEEDS_FAKETIME, NEEDS_SSHD or NEEDS_PEBBLE: installing
# nginx, HAProxy, the registry, the SSH server or knot starts one. A browser is large, and for scripts that set
# NEEDS_BROWSER.
missing_packages() {
  {
    has dockerd || engine_answers || echo docker.io
    has docker || client_package
    has git || echo git
    has curl || echo curl
    [ -z "${NEEDS_NGINX:-}" ] || has nginx || echo nginx-light
    [ -z "${NEEDS_HAPROXY:-}" ] || has haproxy || echo haproxy
    [ -z "${NEEDS_GIT_LFS:-}" ] || has git-lfs || echo git-lfs
    [ -z "${NEEDS_REGISTRY:-}" ] || has docker-registry || echo docker-registry
    [ -z "${NEEDS_WRK:-}" ] || has wrk || echo wrk
    [ -z "${NEEDS_BROWSER:-}" ] || has_browser || ! has_browser_package || echo chromium
    [ -z "${NEEDS_DEBOOTSTRAP:-}" ] || has debootstrap || echo debootstrap
    [ -z "${NEEDS_FAKETIME:-}" ] || has faketime || echo faketime
    [ -z "${NEEDS_SSHD:-}" ] || has sshd || echo openssh-server
    [ -z "${NEEDS_DEBOOTSTRAP:-}" ] || has capsh || echo libcap2-bin
    [ -z "${NEEDS_PEBBLE:-}" ] || has pebble || echo pebble
    [ -z "${NEEDS_PEBBLE:-}" ] || has knotd || echo knot
    has iptables || echo iptables
    has ip || echo iproute2
    has mkfs.ext4 || echo e2fsprogs
    has mkfs.xfs || ! is_debian_like || ! may_be_root || echo xfsprogs # for the data pool, which needs root anyway
    [ -z "${NEEDS_BTRFS:-}" ] || has mkfs.btrfs || echo btrfs-progs
    has sysctl || echo procps
    [ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    find_python >/dev/null || echo python3
    { has python3 && python3 -c 'import ensurepip, venv'; } >/dev/null 2>&1 || has_venv || echo python3-venv
  } | sort -u
}

has_browser() { has chromium || has chromium-browser || has google-chrome; }

# Ubuntu's is a snap, which needs a running snapd; without a browser, the tests that need one are skipped.
has_browser_package() { ! grep -qs '^ID=ubuntu' /etc/os-release; }

# Debian 13 and later have the client in a package of its own; before, docker.io holds both.
client_package() { if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi; }

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  is_debian_like || fail "Missing packages: ${missing[*]}. This isn't a Debian-like system, so this script can't install them." \
    "Install Docker Engine, git, curl and Python 3.11 or later (with venv) yourself, then run this again."
  may_be_root || fail "Missing packages: ${missing[*]}. Installing them needs root, or sudo without a password." \
    "Run this as root, or ask an administrator to run: apt-get install ${missing[*]}"
  refresh_package_lists
  mapfile -t missing < <(missing_packages)
  say "installing ${missing[*]}"
  quietly apt_get install --yes --no-install-recommends "${missing[@]}" || fail "apt-get could not install ${missing[*]}; its last lines are above." \
    "Fix the reported problem, then run this again."
  hash -r
}

# --- docker buildx and docker compose ---------------------------------------------------------------------

PLUGINS_FOR_ALL=/usr/libexec/docker/cli-plugins # where the distribution's packages put them as well, once there are some

has_buildx() { has docker && docker buildx version >/dev/null 2>&1; }

has_compose() { has docker && docker compose version >/dev/null 2>&1; }

# `docker buildx` builds images. Without it everything works that doesn't build.
install_buildx() {
  if has_buildx || ! is_debian_like; then return 0; fi
  install_plugin buildx
  has_buildx || say "docker buildx isn't available, so images can't be built from source; see docs/how-to/build-from-source.md"
}

# `docker compose` runs Stager's own container image in a test; nothing else here needs it.
install_compose() {
  if has_compose || ! is_debian_like; then return 0; fi
  install_plugin compose
  has_compose || say "docker compose isn't available; the test of compose.yaml is skipped"
}

# install_plugin NAME: the distribution's package, or Docker's own. Debian 12 has neither, but that of Debian 13 runs
# there as it is.
install_plugin() {
  local package
  if [ "$(release_name)" = bookworm ] && ! plugin_package "$1" >/dev/null; then
    fetch_plugin "$1"
  elif may_be_root; then
    plugin_package "$1" >/dev/null || refresh_package_lists
    package="$(plugin_package "$1")" && say "installing $package" && quietly apt_get install --yes --no-install-recommends "$package"
  fi || true
}

release_name() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# Docker's own package belongs to Docker's own client; Ubuntu's compose has a name of its own; and Debian 12's
# docker-compose is an older program that isn't a plugin.
plugin_package() {
  local package
  for package in "docker-$1-plugin" "docker-$1-v2" "docker-$1"; do
    if [ "$package" = "docker-$1-plugin" ] && ! has_package docker-ce-cli; then continue; fi
    if [ "$package" = docker-compose ] && [ "$(release_name)" = bookworm ]; then continue; fi
    if apt-cache show "$package" >/dev/null 2>&1; then echo "$package" && return 0; fi
  done
  return 1
}

has_package() { dpkg-query --show --showformat '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

fetch_plugin() {
  local folder target status=0
  say "downloading docker $1 from Debian 13"
  folder="$(mktemp -d)"
  target="$(plugin_folder)"
  fetch_newer "$folder" "docker-$1"
  if ! put_plugin "$folder/tree/usr/libexec/docker/cli-plugins/docker-$1" "$target" 2>>"$folder/log"; then
    tail -n 5 "$folder/log" >&2
    status=1
  fi
  rm -rf "$folder"
  return "$status"
}

# fetch_newer FOLDER PACKAGE...: unpacks Debian 13's packages in FOLDER/tree, from the mirrors that this machine uses
# anyway and under apt's own signatures, without touching apt's lists: nothing else of Debian 13 gets here by it. What
# was said is in FOLDER/log.
fetch_newer() {
  local folder="$1" package
  shift
  newer_sources >"$folder/trixie.list"
  {
    mkdir -p "$folder/lists/partial" "$folder/archives/partial"
    private_apt "$folder" update
    (cd "$folder" && private_apt "$folder" download "$@")
    for package in "$@"; do dpkg-deb -x "$folder/$package"_*.deb "$folder/tree"; done
  } >"$folder/log" 2>&1 || true
}

# For everybody on the machine where that may be, such as a service's user; for this user otherwise.
plugin_folder() { if may_be_root; then echo "$PLUGINS_FOR_ALL"; else echo "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins"; fi; }

put_plugin() {
  local target
  target="$2/$(basename "$1")"
  if [ "$2" = "$PLUGINS_FOR_ALL" ]; then as_root install -D -m 755 "$1" "$target"; else install -D -m 755 "$1" "$target"; fi
}

# This machine's own sources of Debian 12, as those of Debian 13.
newer_sources() {
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && $3 == "main" && !seen[$1]++ { print "deb", $1, "trixie main" }'
}

# private_apt FOLDER COMMAND...: apt with lists and archives of its own.
private_apt() {
  local folder="$1"
  shift
  apt-get -q -o Dir::Etc::SourceList="$folder/trixie.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$folder/lists" \
    -o Dir::Cache="$folder" -o Dir::Cache::Archives="$folder/archives" -o APT::Sandbox::User="$(id -un)" "$@"
}

# --- the engine of the builder for code from forks ----------------------------------------------------------

BUILDER_ENGINE=/usr/libexec/stager/docker # where stager-helper looks for it, before it takes the system's
BUILDER_ENGINE_OLDEST=25                  # as in src/stager/helper/builder/engine.py

# major_of PROGRAM: the first part of a dockerd's version; 0 where there is none.
major_of() { { "$1" --version 2>/dev/null || true; } | sed -n 's/.*version \([0-9]*\)\..*/\1/p' | grep . || echo 0; }

has_builder_engine() {
  [ "$(major_of "$BUILDER_ENGINE/dockerd")" -ge "$BUILDER_ENGINE_OLDEST" ] ||
    { [ ! -e "$BUILDER_ENGINE/dockerd" ] && [ "$(major_of dockerd)" -ge "$BUILDER_ENGINE_OLDEST" ]; }
}

# The Docker engine by which stager-helper builds code from forks: the system's where it is new enough; on Debian 12
# that of Debian 13, beside it, with Debian 12's runc. Without it everything works but builds of code from forks.
fetch_builder_engine() {
  local folder
  if has_builder_engine || ! is_debian_like; then return 0; fi
  if [ "$(release_name)" = bookworm ] && may_be_root; then
    say "downloading Docker of Debian 13, to build code from forks"
    folder="$(mktemp -d)"
    fetch_newer "$folder" docker.io containerd
    if ! put_builder_engine "$folder/tree" 2>>"$folder/log"; then tail -n 5 "$folder/log" >&2; fi
    rm -rf "$folder"
  fi
  has_builder_engine || say "Docker $BUILDER_ENGINE_OLDEST or later isn't available, so code from forks can't be built; see docs/how-to/build-code-from-forks.md"
}

put_builder_engine() {
  local program
  for program in usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/sbin/docker-proxy usr/sbin/dockerd; do
    as_root install -D -m 755 "$1/$program" "$BUILDER_ENGINE/$(basename "$program")" || return 1
  done
}

# --- Python -----------------------------------------------------------------------------------------------

is_python_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
    if has "$candidate" && is_python_new_enough "$candidate"; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

has_venv() { [ -x "$ROOT/.venv/bin/python" ] && is_python_new_enough "$ROOT/.venv/bin/python"; }

make_venv() {
  local python
  has_venv && return 0
  python="$(find_python)" || fail "Stager needs Python 3.11 or later, and this machine has $(python3 --version 2>&1 || echo none)." \
    "Debian 12, Ubuntu 24.04 and later have it as python3; elsewhere install one as python3.11 or later, then run this again."
  say "creating a virtual environment in .venv ($("$python" --version))"
  quietly "$python" -m venv --clear "$ROOT/.venv" || fail "$python could not create the virtual environment; its last lines are above." \
    "Install the venv module that belongs to $python (on Debian and Ubuntu: python3-venv), then run this again."
}

# What is installed from requirements/LOCK.txt comes from this: the lock, what describes this package, the interpreter.
lock_sum() {
  { cat "$ROOT/requirements/$1.txt" "$ROOT/pyproject.toml"; "$ROOT/.venv/bin/python" -VV; echo "$ROOT"; } | sha256sum | cut -d' ' -f1
}

is_installed() { [ "$(cat "$ROOT/.venv/.stager-$1" 2>/dev/null)" = "$(lock_sum "$1")" ]; }

# install_python LOCK: what requirements/LOCK.txt says, by hash, and this package itself; nothing when that is done,
# also by the lock `dev`, which has everything.
# Python's cache of compiled modules. Without it each start compiles Stager again where its user, such as that of the
# service, can't write to this folder.
compile_python() { "$ROOT/.venv/bin/python" -m compileall -q "$ROOT/src" || true; }

install_python() {
  local pip
  make_venv
  if is_installed "$1" || is_installed dev; then
    compile_python
    return 0
  fi
  say "installing the Python packages of requirements/$1.txt"
  "$ROOT/.venv/bin/python" -m pip --version >/dev/null 2>&1 || quietly "$ROOT/.venv/bin/python" -m ensurepip
  pip=("$ROOT/.venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input)
  quietly "${pip[@]}" --require-hashes -r "$ROOT/requirements/$1.txt" || fail "pip could not install requirements/$1.txt; its last lines are above." \
    "Check that this machine reaches its Python package index (set another by PIP_INDEX_URL or pip.conf), then run this again."
  quietly "${pip[@]}" --no-deps --no-build-isolation -e "$ROOT" || fail "pip could not install this checkout; its last lines are above." \
    "Remove .venv and run this again."
  compile_python
  lock_sum "$1" >"$ROOT/.venv/.stager-$1"
}

# --- the Docker engine ------------------------------------------------------------------------------------

engine_answers() { has docker && timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

engine_answers_root() { may_be_root && as_root timeout 20 docker version >/dev/null 2>&1; }

has_systemd() { [ -d /run/systemd/system ]; }

# The process id of the dockerd that runs here, whoever started it. Its pid file may outlive it.
engine_pid() {
  local pid
  pid="$(cat /var/run/docker.pid 2>/dev/null || true)"
  if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then echo "$pid"; fi
}

start_engine() {
  if engine_answers; then return 0; fi
  [ -z "${DOCKER_HOST:-}" ] || fail "No Docker engine answers at DOCKER_HOST=$DOCKER_HOST." "Start it, or unset DOCKER_HOST to use this machine's own."
  if ! may_open_socket && ! may_be_root; then fail_for_want_of_group; fi
  if [ -z "$(engine_pid)" ] && ! engine_answers_root; then
    may_be_root || fail "No Docker engine answers, and you may not start one (neither root nor sudo without a password)." \
      "Have somebody start it (systemctl start docker, or dockerd) and add you to the group docker, then run this again."
    launch_engine
  fi
  wait_for_engine
}

launch_engine() {
  say "starting the Docker engine"
  ENGINE_IS_OURS=yes
  if has_systemd; then
    quietly as_root systemctl start docker || fail "systemctl start docker failed; its last lines are above." "See: journalctl -u docker"
    return 0
  fi
  # A containerd that was killed leaves its pid file behind, and dockerd then waits for it in vain.
  local stale=/var/run/docker/containerd/containerd.pid
  if [ -e "$stale" ] && [ "$(cat "/proc/$(cat "$stale")/comm" 2>/dev/null)" != containerd ]; then as_root rm -f "$stale"; fi
  mkdir -p "$WORK"
  # In a session of its own, so that neither Ctrl-C nor the end of this terminal reaches it.
  as_root setsid --fork dockerd >"$ENGINE_LOG" 2>&1 </dev/null
  ENGINE_LAUNCHED_AT=$SECONDS
}

wait_for_engine() {
  local deadline=$((SECONDS + 60))
  until engine_answers; do
    if [ "$(id -u)" != 0 ] && engine_answers_root && ! engine_answers; then borrow_docker_group; fi
    if engine_has_failed || [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 15 "$ENGINE_LOG" >&2 2>/dev/null || true
      fail "The Docker engine did not come up; the last lines of its log are above." "The whole log: $ENGINE_LOG"
    fi
    sleep 0.3
  done
}

# It writes its pid file as one of the first things, and removes it when it gives up.
engine_has_failed() { [ -n "${ENGINE_LAUNCHED_AT:-}" ] && [ $((SECONDS - ENGINE_LAUNCHED_AT)) -gt 5 ] && [ -z "$(engine_pid)" ]; }

may_open_socket() { [ ! -S /var/run/docker.sock ] || [ -w /var/run/docker.sock ]; }

fail_for_want_of_group() {
  fail "A Docker engine is running, but you don't have permission to use it." \
    "Join the group docker (as root: usermod -aG docker $(id -un)), log in again, then run this again; or run it as root."
}

# The engine answers root but not this user, as on a machine where Docker was installed a moment ago: start the
# script again as the same user with the group docker added, for this run only.
borrow_docker_group() {
  local gid
  gid="$(getent group docker | cut -d: -f3 || true)"
  if [ -z "$gid" ] || [ -n "${STAGER_GROUP_BORROWED:-}" ]; then fail_for_want_of_group; fi
  say "using the group docker for this run (permanently: sudo usermod -aG docker $(id -un))"
  exec sudo -n -E -- env HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" PATH="$PATH" \
    STAGER_GROUP_BORROWED=yes STAGER_ENGINE_IS_OURS="$ENGINE_IS_OURS" \
    setpriv --reuid "$(id -u)" --regid "$(id -g)" --groups "$(id -G | tr ' ' ,),$gid" "$(realpath "$0")" "${ARGUMENTS[@]}"
}

# Stops the engine if this run started it; one that was there before goes on.
stop_engine() {
  local pid
  [ -n "$ENGINE_IS_OURS" ] || return 0
  say "stopping the Docker engine that this run started"
  ENGINE_IS_OURS=""
  if has_systemd; then
    quietly as_root systemctl stop docker.socket docker
    return 0
  fi
  pid="$(engine_pid)"
  [ -n "$pid" ] || return 0
  as_root sh -c "kill $pid"
  timeout 30 tail --pid="$pid" -f /dev/null || say "the Docker engine (process $pid) is slow to stop; its log: $ENGINE_LOG"
}

# --- the root helper --------------------------------------------------------------------------------------

HELPER=/usr/libexec/stager/stager-helper
HELPER_SOCKET=/run/stager/helper.sock
HELPER_LOG=/run/stager/helper.log
HELPER_IS_OURS="" # set once this run has started it

# The process that answers at the helper's socket; nothing where none answers this user.
helper_pid() {
  "$(find_python)" -I - "$HELPER_SOCKET" 2>/dev/null <<'PYTHON' || true
import socket, struct, sys
with socket.socket(socket.AF_UNIX) as helper:
    helper.settimeout(10)
    helper.connect(sys.argv[1])
    pid, _, _ = struct.unpack("3i", helper.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    helper.sendall(b'{"verb": "hello", "fields": {}}\n')
    if helper.makefile().readline():
        print(pid)
PYTHON
}

# A Python that is root's alone, with the folders in which it lies: one of pyenv or of a home folder isn't for root to run.
helper_python() {
  local candidate
  for candidate in /usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.{14,13,12,11} /usr/local/bin/python3.{14,13,12,11}; do
    if has "$candidate" && is_python_new_enough "$candidate" && is_roots_alone "$(realpath "$candidate")"; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

# is_roots_alone PATH: whether nobody but root can change or replace it.
is_roots_alone() {
  local path="$1"
  while [ -z "$(find "$path" -maxdepth 0 \( ! -uid 0 -o -perm /022 ! -type l \) 2>&1)" ]; do
    [ "$path" != / ] || return 0
    path="$(dirname "$path")"
  done
  return 1
}

# The helper's own files in a folder of root's: what root runs may not be this user's to change.
install_helper() {
  local shim status=0
  shim="$(mktemp)"
  printf '%s\n' "#!$(helper_python) -IS" "import sys" "sys.path.insert(0, \"$HELPER.d\")" \
    "from stager.helper.__main__ import main" "main()" >"$shim"
  {
    as_root rm -rf "$HELPER.d" && as_root install -d -m 755 "$HELPER.d"/stager/helper{,/firewall,/builder,/data,/memory} &&
      as_root install -m 644 "$ROOT/src/stager/__init__.py" "$ROOT/src/stager/version.py" "$HELPER.d/stager" &&
      as_root install -m 644 "$ROOT"/src/stager/helper/*.py "$HELPER.d/stager/helper" &&
      as_root install -m 644 "$ROOT"/src/stager/helper/firewall/*.py "$HELPER.d/stager/helper/firewall" &&
      as_root install -m 644 "$ROOT"/src/stager/helper/builder/*.py "$HELPER.d/stager/helper/builder" &&
      as_root install -m 644 "$ROOT"/src/stager/helper/data/*.py "$HELPER.d/stager/helper/data" &&
      as_root install -m 644 "$ROOT"/src/stager/helper/memory/*.py "$HELPER.d/stager/helper/memory" &&
      as_root install -m 755 "$shim" "$HELPER"
  } || status=$?
  rm -f "$shim"
  return "$status"
}

# Keeps previews from this machine's own services, and builds code from forks; docs/how-to/root-helper.md. One that
# runs already, such as that of a service, is used as it is. STAGER_HELPER=off leaves it out.
start_helper() {
  local deadline=$((SECONDS + 15))
  if [ "${STAGER_HELPER:-}" = off ] || [ "$(uname -s)" != Linux ] || [ -n "$(helper_pid)" ]; then return 0; fi
  if ! may_be_root; then
    say "no root access, so the root helper isn't started: previews reach this machine's own services; see docs/how-to/root-helper.md"
    return 0
  fi
  if [ -e "$HELPER_SOCKET" ] && as_root grep -qs "$HELPER_SOCKET" /proc/net/unix; then
    say "another user's root helper is running, so previews of this user reach this machine's own services"
    return 0
  fi
  if ! helper_python >/dev/null; then
    say "the system has no Python 3.11 or later for the root helper, so previews reach this machine's own services"
    return 0
  fi
  say "starting the root helper, which keeps previews from this machine's own services"
  install_helper || fail "The root helper could not be installed in $HELPER.d; the reason is above." "STAGER_HELPER=off leaves it out."
  as_root install -d -m 755 "$(dirname "$HELPER_SOCKET")"
  # Root writes there, where another's link might lead anywhere.
  is_roots_alone "$(realpath "$(dirname "$HELPER_SOCKET")")" || fail "Other users than root can change $(dirname "$HELPER_SOCKET"), so the root helper can't create its socket there." \
    "Check its owner: a service with RuntimeDirectory=$(basename "$(dirname "$HELPER_SOCKET")") may own it. STAGER_HELPER=off leaves the helper out."
  HELPER_IS_OURS=yes
  # shellcheck disable=SC2016 # the names are arguments, whatever characters they have
  as_root sh -c 'exec setsid --fork "$1" --user "$2" --socket "$3" >"$4" 2>&1 </dev/null' \
    sh "$HELPER" "$(id -un)" "$HELPER_SOCKET" "$HELPER_LOG"
  until [ -n "$(helper_pid)" ]; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      as_root tail -n 5 "$HELPER_LOG" >&2 || true
      fail "The root helper did not start; the last lines of its log are above." "The whole log: $HELPER_LOG. STAGER_HELPER=off leaves it out."
    fi
    sleep 0.1
  done
}

# Stops the helper if this run started it, and removes its rules.
stop_helper() {
  local pid tool
  [ -n "$HELPER_IS_OURS" ] || return 0
  HELPER_IS_OURS=""
  pid="$(helper_pid)"
  [ -n "$pid" ] || return 0
  say "stopping the root helper that this run started"
  as_root sh -c "kill $pid"
  timeout 30 tail --pid="$pid" -f /dev/null || say "the root helper (process $pid) is slow to stop; its log: $HELPER_LOG"
  for tool in iptables ip6tables; do remove_helper_rules "$tool" || true; done
}

# What a killed helper left, unless previews run that its rules guard: beside its socket no Stager starts without a
# helper, and its rules reject what tests expect to pass.
remove_dead_helper() {
  local tool
  may_be_root || return 0
  [ -e "$HELPER_SOCKET" ] || as_root iptables-save -t filter 2>/dev/null | grep -qE "^:$HELPER_CHAINS " || return 0
  if [ -n "$(helper_pid)" ] || as_root grep -qs "$HELPER_SOCKET" /proc/net/unix; then return 0; fi
  if [ -n "$(docker ps --quiet --filter label=stager.environment)" ]; then
    say "a root helper was killed, and previews run that its rules guard, so tests that start Stager without a helper fail"
    return 0
  fi
  say "removing what a killed root helper left: its socket and its rules"
  as_root rm -f "$HELPER_SOCKET" "$HELPER_SOCKET.lock" "$HELPER_SOCKET.policies"
  for tool in iptables ip6tables; do remove_helper_rules "$tool" || true; done
}

HELPER_CHAINS='STAGER-(IN|OUT|PRIVATE|BLOCK)(-PV|-[0-9]+)?' # those of a helper without --chains

# remove_helper_rules TOOL: the jumps to the helper's chains, then the chains; no other rule is touched, and no other
# helper's.
remove_helper_rules() { as_root "$1-save" -t filter | removed_rules | as_root "$1-restore" --noflush; }

# What iptables-restore makes those changes of, from what iptables-save tells.
removed_rules() {
  local saved
  saved="$(cat)"
  echo "*filter"
  sed -nE "/^-A $HELPER_CHAINS /d; s/^-A (.* -j $HELPER_CHAINS)$/-D \1/p" <<<"$saved"
  sed -nE "s/^:($HELPER_CHAINS) .*/-F \1/p" <<<"$saved"
  sed -nE "s/^:($HELPER_CHAINS) .*/-X \1/p" <<<"$saved"
  echo COMMIT
}

# remove_labelled LABEL: the containers, then the networks and volumes, that bear this label (name, or name=value).
remove_labelled() {
  local ids
  mapfile -t ids < <(docker ps --all --quiet --filter "label=$1")
  if [ "${#ids[@]}" -gt 0 ]; then docker rm --force --volumes "${ids[@]}" >/dev/null; fi
  mapfile -t ids < <(docker network ls --quiet --filter "label=$1")
  if [ "${#ids[@]}" -gt 0 ]; then docker network rm "${ids[@]}" >/dev/null; fi
  mapfile -t ids < <(docker volume ls --quiet --filter "label=$1")
  if [ "${#ids[@]}" -gt 0 ]; then docker volume rm "${ids[@]}" >/dev/null; fi
}
