"""The sandbox of the untrusted builder, which hides the machine from its Docker engine.

It has its own namespaces for network, mounts, processes, IPC and host name. Its root folder is a tmpfs with
the system's programs and libraries, mounted read-only. Its data is on an ext4 file system in one file of
fixed size. User ids are remapped, so root in a build step is no user of this machine. When the sandbox's
first process exits, the kernel removes all its processes, mounts, loop device and network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from stager.helper.builder import disk

USER = "stager-builder"
"""The user to whose range of ids the build steps' users are remapped. It exists only in the sandbox."""
FIRST_ID = 0x70000000
"""The first id of that range, in a part that systemd's table of ids lists as unused,
https://systemd.io/UIDS-GIDS/, so no file or process of the host has one of these ids."""
IDS = 65536
RESOLVER_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""The first has the real servers if the second only names systemd-resolved on the loopback interface."""
INNER_BRIDGE = "198.18.0.1/24"
"""The build steps' network, inside the sandbox only. From the benchmark range of RFC 2544, which isn't
routed, so it hides no network of the host from builds."""
INNER_POOL = {"base": "198.18.128.0/17", "size": 24}
CACHE_SHARE = 0.5
"""The share of the disk that the build cache may keep; the rest is for images and running builds."""
DROPPED_CAPABILITIES = (
    "sys_module", "sys_rawio", "sys_boot", "sys_time", "sys_pacct", "mac_admin", "mac_override", "syslog",
    "wake_alarm", "audit_control", "audit_read", "sys_tty_config", "lease",
)  # fmt: skip
"""Capabilities that no container engine needs."""

SCRIPT = r"""
set -eu
# Standard output is the engine's listening socket; it becomes descriptor 3, see sd_listen_fds(3).
exec 3<&1 1>&2
read -r _ || exit 0
disk=$1 programs=$2 root=$3 address=$4 gateway=$5 files=$6
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
bind_ro() { mount --bind "$1" ".$1" && mount -o remount,bind,ro,nosuid ".$1"; }
mount -t tmpfs -o mode=755,size=64m root "$root"
cd "$root"
mkdir -p usr etc proc sys dev/pts dev/shm run tmp data programs old
for part in /bin /sbin /lib /lib32 /lib64 /libx32; do
  if [ -L "$part" ]; then cp -P "$part" ".$part"; elif [ -d "$part" ]; then mkdir ".$part" && bind_ro "$part";
  fi
done
bind_ro /usr
mount --bind "$programs" programs
mount -o remount,bind,ro,nosuid programs
for part in ssl/certs pki/tls/certs pki/ca-trust ca-certificates alternatives crypto-policies; do
  part=/etc/$part
  if [ -d "$part" ]; then mkdir -p ".$part" && bind_ro "$part"; fi
done
for file in ld.so.cache ethertypes protocols; do
  if [ -f "/etc/$file" ]; then cp "/etc/$file" etc/; fi
done
cp "$files"/* etc/
for device in null zero full random urandom tty; do
  : >dev/$device
  mount --bind /dev/$device dev/$device
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
mount -t tmpfs -o mode=1777,nosuid,nodev,size=1g tmp tmp
mount -t proc proc proc
mount --rbind /sys sys
mount -t ext4 -o loop,nosuid,nodev "$disk" data
pivot_root . old
cd /
umount -l /old
rmdir /old
exec env -i PATH=/programs:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LISTEN_PID=1 LISTEN_FDS=1 \
  setpriv --bounding-set "$7" dockerd --config-file /etc/builder.json </dev/null
"""
"""Run by `sh` in new namespaces, with the arguments in `Sandbox.command`. It waits for a line on standard
input, which is sent once its network link exists."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The parameters of the sandbox, all from the helper's command line.

    Args:
        folder: the builder's folder, with `disk`, `root` and `files`.
        programs: the folder of `dockerd` and `containerd`.
        inside: the sandbox's address on the link.
        outside: the host's address on the link.
        size: the size of its disk in bytes.
    """

    folder: Path
    programs: Path
    inside: IPv4Interface
    outside: IPv4Interface
    size: int

    @property
    def disk(self) -> Path:
        """The file of its disk."""
        return self.folder / disk.NAME

    @property
    def root(self) -> Path:
        """An empty folder on which the sandbox's root is mounted, inside its namespace."""
        return self.folder / "root"

    @property
    def _script(self) -> Path:
        return self.folder / "sandbox.sh"

    @property
    def _files(self) -> Path:
        return self.folder / "files"

    def command(self) -> list[str]:
        """Return the command that starts the sandbox with its engine."""
        namespaces = ["--net", "--mount", "--pid", "--ipc", "--uts", "--propagation", "private"]
        dropped = ",".join(f"-{name}" for name in DROPPED_CAPABILITIES)
        paths = [str(self.disk), str(self.programs), str(self.root)]
        network = [str(self.inside), str(self.outside.ip)]
        script = ["sh", str(self._script), *paths, *network, str(self._files), dropped]
        return ["unshare", *namespaces, "--fork", "--kill-child", *script]

    def write_files(self) -> None:
        """Write the script and the files of the sandbox's `/etc`."""
        self._script.write_text(SCRIPT, "utf-8")
        self._files.mkdir(mode=0o700, exist_ok=True)
        for name, content in self.files().items():
            (self._files / name).write_text(content, "utf-8")

    def files(self) -> Mapping[str, str]:
        """Return the files of the sandbox's `/etc`. Only the name servers are the host's, so there are no
        credentials, certificates or settings of the host's Docker."""
        ids = f"{USER}:{FIRST_ID}:{IDS}\n"
        return {
            "builder.json": json.dumps(self._configuration()),
            "passwd": f"root:x:0:0::/:/bin/sh\n{USER}:x:{FIRST_ID}:{FIRST_ID}::/:/bin/false\n",
            "group": f"root:x:0:\n{USER}:x:{FIRST_ID}:\n",
            "subuid": ids,
            "subgid": ids,
            "hosts": "127.0.0.1 localhost\n",
            "nsswitch.conf": "hosts: files dns\n",
            "resolv.conf": "".join(f"nameserver {address}\n" for address in resolvers()),
        }

    def _configuration(self) -> Mapping[str, object]:
        """Return dockerd's configuration,
        https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file."""
        keep = f"{int(self.size * CACHE_SHARE)}B"
        return {
            "hosts": ["fd://"],
            "data-root": "/data/docker",
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "userns-remap": USER,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],  # there is no systemd in the sandbox
            "bip": INNER_BRIDGE,
            "default-address-pools": [INNER_POOL],
            "userland-proxy": False,
            "no-new-privileges": True,
            "log-level": "warn",
            "builder": {
                "gc": {"enabled": True, "defaultKeepStorage": keep},
                "entitlements": {"network-host": False, "security-insecure": False},
            },
        }


def resolvers(files: tuple[Path, ...] = RESOLVER_FILES) -> list[str]:
    """Return this machine's name servers, without those on its loopback interface, which the sandbox can't
    reach."""
    for file in files:
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        words = [line.split() for line in lines]
        found = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
        reachable = [a for a in found if "." in a and not a.startswith("127.")]
        if reachable:
            return reachable
    return []
