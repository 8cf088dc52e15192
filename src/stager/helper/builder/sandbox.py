"""The room of the untrusted builder: what its Docker engine sees of this machine, which is next to nothing.

It has namespaces of its own for network, mounts, processes, IPC and host name. Its root folder is a tmpfs
with the system's programs and libraries in it, read-only. Its data is on an ext4 file system in one file of
fixed size. Its users are remapped, so that root in a build step is no user of this machine. All of it hangs
on one process: when that ends, the kernel takes processes, mounts, loop device and network down with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from stager.helper.builder import disk

USER = "stager-builder"
"""Whose range of ids the build steps' users are remapped to. The name exists in the room alone."""
FIRST_ID = 0x70000000
"""The first id of that range, in the part that systemd's table of ids lists as unused,
https://systemd.io/UIDS-GIDS/: no file and no process of the host's has one of these."""
IDS = 65536
RESOLVER_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""The first has the real servers where the second only names systemd's own on the loopback interface."""
INNER_BRIDGE = "198.18.0.1/24"
"""The build steps' network, inside the room only. From the benchmark range of RFC 2544, which is routed
nowhere, so that it hides no network of the host's from builds."""
INNER_POOL = {"base": "198.18.128.0/17", "size": 24}
KEPT_OF_DISK = 0.5
"""How much of the disk the build cache may take for good; the rest is for images and for builds under way."""
TAKEN_CAPABILITIES = (
    "sys_module", "sys_rawio", "sys_boot", "sys_time", "sys_pacct", "mac_admin", "mac_override", "syslog",
    "wake_alarm", "audit_control", "audit_read", "sys_tty_config", "lease",
)  # fmt: skip
"""What no container engine needs."""

SCRIPT = r"""
set -eu
# Standard output is the engine's listening socket, which becomes descriptor 3, as sd_listen_fds(3) has it.
exec 3<&1 1>&2
read -r _ || exit 0
disk=$1 programs=$2 room=$3 address=$4 gateway=$5 files=$6
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
seen() { mount --bind "$1" ".$1" && mount -o remount,bind,ro,nosuid ".$1"; }
mount -t tmpfs -o mode=755,size=64m room "$room"
cd "$room"
mkdir -p usr etc proc sys dev/pts dev/shm run tmp data programs old
for part in /bin /sbin /lib /lib32 /lib64 /libx32; do
  if [ -L "$part" ]; then cp -P "$part" ".$part"; elif [ -d "$part" ]; then mkdir ".$part" && seen "$part"; fi
done
seen /usr
mount --bind "$programs" programs
mount -o remount,bind,ro,nosuid programs
for part in ssl/certs pki/tls/certs pki/ca-trust ca-certificates alternatives crypto-policies; do
  part=/etc/$part
  if [ -d "$part" ]; then mkdir -p ".$part" && seen "$part"; fi
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
"""Run by `sh` within new namespaces; its arguments are those in `Sandbox.command`. It waits for a line on its
standard input: until then its network has no way out."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the room is made of; all of it is decided by the helper's command line.

    Args:
        folder: of ours, where `disk`, `root` and `files` lie.
        programs: where `dockerd` and `containerd` lie.
        inside: the room's own address on the link.
        outside: the host's.
        size: bytes of its disk.
    """

    folder: Path
    programs: Path
    inside: IPv4Interface
    outside: IPv4Interface
    size: int

    @property
    def disk(self) -> Path:
        """The file that its data is in."""
        return self.folder / disk.NAME

    @property
    def root(self) -> Path:
        """An empty folder, on which the room's root is mounted, in the room alone."""
        return self.folder / "root"

    @property
    def _script(self) -> Path:
        return self.folder / "room.sh"

    @property
    def _files(self) -> Path:
        return self.folder / "files"

    def command(self) -> list[str]:
        """What starts it, its engine included."""
        apart = ["--net", "--mount", "--pid", "--ipc", "--uts", "--propagation", "private"]
        taken = ",".join(f"-{name}" for name in TAKEN_CAPABILITIES)
        places = [str(self.disk), str(self.programs), str(self.root)]
        network = [str(self.inside), str(self.outside.ip)]
        script = ["sh", str(self._script), *places, *network, str(self._files), taken]
        return ["unshare", *apart, "--fork", "--kill-child", *script]

    def write_files(self) -> None:
        """Write the script, and what lies in the room's `/etc`."""
        self._script.write_text(SCRIPT, "utf-8")
        self._files.mkdir(mode=0o700, exist_ok=True)
        for name, content in self.files().items():
            (self._files / name).write_text(content, "utf-8")

    def files(self) -> Mapping[str, str]:
        """The room's `/etc`: nothing of the host's but where names are resolved. So there are no credentials,
        certificates or settings of its Docker."""
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
        """Of dockerd, https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file."""
        keep = f"{int(self.size * KEPT_OF_DISK)}B"
        return {
            "hosts": ["fd://"],
            "data-root": "/data/docker",
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "userns-remap": USER,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],  # no systemd is seen in there
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
    """The name servers that this machine asks, without those on its loopback interface, which is another one
    in the room."""
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
