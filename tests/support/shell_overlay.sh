#!/bin/sh
# An overlay in shell, as docs/overlays.md describes them: kernel VXLAN between hosts, one bridge, no daemon.
# The lab writes one request a line and reads one answer a line; LAB_* say where this program works.
set -u
state=$LAB_DIRECTORY/attached
mtu=1400

field() {  # a text or number of the request, by its name
    printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

answer() {  # more fields of a good answer, each with a comma before it
    printf '{"id":%s,"ok":true%s}\n' "$id" "${1:-}"
}

try() {  # a command of several lines; its failure is the answer
    if said=$(sh -ec "$1" 2>&1); then return 0; fi
    said=$(printf '%s' "$said" | tr -d '"\\\n' | cut -c 1-300)
    printf '{"id":%s,"ok":false,"error":"%s"}\n' "$id" "$said"
    return 1
}

launch() {
    try "
        ip link show shbr >/dev/null 2>&1 && exit 0
        ip link add shbr mtu $mtu type bridge
        ip link add shvx mtu $mtu type vxlan id 77 local $LAB_ADDRESS dstport 4789
        ip link set shvx master shbr up
        ip link set shbr up
        if [ \"\$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)\" = 1 ]; then
            iptables -w -I FORWARD -i shbr -o shbr -j ACCEPT
        fi
    " && answer
}

connect() {  # of each peer, the address
    commands='bridge fdb show dev shvx | sed -n "s/^00:00:00:00:00:00 dst \([^ ]*\).*/\1/p" |
        while read -r old; do bridge fdb del 00:00:00:00:00:00 dev shvx dst "$old"; done'
    for address in $(printf '%s' "$line" | grep -o '"address":"[^"]*"' | cut -d '"' -f 4); do
        commands="$commands
        bridge fdb append 00:00:00:00:00:00 dev shvx dst $address"
    done
    try "$commands" && answer
}

attach() {
    container=$(field container) pid=$(field pid) address=$(field address)
    port=sh$(printf '%s' "$container" | cksum | cut -d ' ' -f 1)
    try "
        ip link delete $port 2>/dev/null || true
        ip link add $port mtu $mtu type veth peer name ethwe mtu $mtu netns $pid
        ip link set $port master shbr up
        nsenter -t $pid -n ip addr add $address dev ethwe
        nsenter -t $pid -n ip link set ethwe up
    " && answer ",\"address\":\"$address\""
}

detach() {
    port=sh$(printf '%s' "$(field container)" | cksum | cut -d ' ' -f 1)
    ip link delete "$port" 2>/dev/null
    answer
}

end() {
    try "ip link delete shvx; ip link delete shbr" && answer
}

while read -r line; do
    id=$(field id)
    case $(field op) in
        hello) answer ',"name":"shell","version":"1","addresses":"chosen","carries":"frames","moves":true,"daemon":false' ;;
        launch) launch ;;
        connect) connect ;;
        attach) attach ;;
        detach) detach ;;
        status) if ip link show shvx >/dev/null 2>&1; then answer ',"running":true'; else answer ',"running":false'; fi ;;
        stop | kill) end ;;
        logs) answer ',"text":""' ;;
    esac
done
