#!/bin/sh
# Two agents on two machines with addresses of their own, and one server on a third: network
# namespaces, joined by virtual cables.
#
#   namespaces.sh LOADTEST RESULTS
#
# To be started by unshare, in mount, network and process namespaces of its own: with them go the
# names, the cables and the processes, however this ends.
set -eu
loadtest=$1 results=$2

# The names of network namespaces are files in /run/netns: this /run is ours alone.
mount -t tmpfs tmpfs /run
for machine in server alpha beta; do
    ip netns add "$machine"
    ip -n "$machine" link set lo up
done

# cable MACHINE NUMBER: the server is 10.0.NUMBER.1, the machine 10.0.NUMBER.2
cable() {
    ip -n server link add "to-$1" type veth peer name eth0 netns "$1"
    ip -n server addr add "10.0.$2.1/24" dev "to-$1"
    ip -n server link set "to-$1" up
    ip -n "$1" addr add "10.0.$2.2/24" dev eth0
    ip -n "$1" link set eth0 up
}
cable alpha 1
cable beta 2

mkfifo "$results/server"
ip netns exec server "$loadtest" known-server --listen 0.0.0.0:7004 >"$results/server" &
exec 3<"$results/server"
read -r said <&3
echo "$said"

# agent MACHINE NUMBER OF-THE-AGENT
start=$(($(date +%s) + 6))
agent() {
    ip netns exec "$1" "$loadtest" run "tcp://10.0.$2.1:7004" --rate 500 --duration 2s \
        --connections 4 --agent "$3/2" --start-at "$start" --json "$results/agent-$3.json"
}
agent alpha 1 0 &
alpha=$!
agent beta 2 1 &
beta=$!
wait "$alpha"
wait "$beta"

# The server tells of every connection that was closed: the last line has all requests.
for _ in 1 2 3 4 5 6 7 8; do
    read -r said <&3
    case $said in
    "closed 8 connections after "*) break ;;
    esac
done
echo "$said"
"$loadtest" merge "$results/agent-0.json" "$results/agent-1.json" --json "$results/merged.json"
