#!/bin/sh
# Runs a command where a systemd of one's own can be started: in a mount namespace with a cgroup hierarchy to change.
# Needs root, for instance in a container. Nothing outside sees any of it; the cgroup is removed at the end.
set -eu
if [ "${1:-}" != --inside ]; then
	exec unshare --mount --cgroup -- "$0" --inside "$@"
fi
shift
mount --make-rprivate /
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/system
umount --lazy /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
place=/sys/fs/cgroup/betcode-trial-$$
mkdir -p "$place/systemd"
echo $$ >"$place/systemd/cgroup.procs"
status=0
"$@" || status=$?
echo $$ >/sys/fs/cgroup/cgroup.procs
find "$place" -depth -type d -exec rmdir {} \;
exit $status
