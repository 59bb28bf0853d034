#!/bin/sh
# The first process of a node: it makes the node's own view of this machine, says "ready", and reaps what is left to it.
# It runs in new mount, network and PID namespaces; what it changes ends with them. Arguments: the node's folder and
# address, the range of Service addresses.
set -eu
address=$2
services=$3
# Relative paths from here on: a mount below may hide the folder.
cd "$1"

mkdir -p etc/upper etc/work var/upper var/work containerd kubelet sysctl
mount -t tmpfs -o mode=755 tmpfs /run
mount -t overlay -o lowerdir=/etc,upperdir=etc/upper,workdir=etc/work overlay /etc
mount -t overlay -o lowerdir=/var,upperdir=var/upper,workdir=var/work overlay /var
# Container images are overlays themselves, which may not lie on an overlay.
mkdir -p /var/lib/containerd /var/lib/kubelet
mount --bind containerd /var/lib/containerd
mount --bind kubelet /var/lib/kubelet
mkdir -p "$1"
mount --bind . "$1"

# Kubelet sets these, which hold for the whole machine: here it finds them as it wants them.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file=sysctl/$(basename "${setting%=*}")
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
# A bridge without ports holds the node's address; the Service range is routed to it, so that the node reaches Services.
ip link add node0 type bridge
ip address add "$address/32" dev node0
ip link set node0 up
ip route add "$services" dev node0
rm -f /etc/resolv.conf
printf 'search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver %s\noptions ndots:5\n' "$address" > /etc/resolv.conf

echo ready
# Without an end; `wait` reaps on the way whatever lost its parent.
sleep infinity &
wait
