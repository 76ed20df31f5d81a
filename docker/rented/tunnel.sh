#!/bin/sh
# On a rented machine: keeps its only way to the fleet open, an outbound SSH connection. Ends with SIGTERM or SIGINT.
#   GATEWAY=pixelmill@gateway.example GATEWAY_PORT=22 KEY=~/.ssh/pixelmill KNOWN_HOSTS=~/.ssh/known_hosts tunnel.sh \
#       4200:prefect.internal:4200 5432:postgres.internal:5432 9000:s3.internal:9000
# Each argument is LOCAL_PORT:HOST:PORT, HOST as the gateway calls it. Local ports are open to this machine alone.
set -u
: "${GATEWAY:?user@host of the machine that is connected to}" "${KEY:?file of the private key}"

forwards=
for forward in "$@"; do
    forwards="$forwards -L 127.0.0.1:$forward"
done
trap 'kill "$connection" 2>/dev/null; exit 0' INT TERM
while :; do
    # A dead line is noticed after 15 s. Without all forwards a connection is worth nothing.
    # shellcheck disable=SC2086
    ssh -N -T -p "${GATEWAY_PORT:-22}" -i "$KEY" $forwards \
        -o UserKnownHostsFile="${KNOWN_HOSTS:-$HOME/.ssh/known_hosts}" -o StrictHostKeyChecking=yes \
        -o BatchMode=yes -o IdentitiesOnly=yes -o ExitOnForwardFailure=yes -o ConnectTimeout=10 \
        -o ServerAliveInterval=5 -o ServerAliveCountMax=3 "$GATEWAY" &
    connection=$!
    wait "$connection"
    echo "$(date -u +%FT%TZ) the tunnel ended with status $?, opening it again" >&2
    sleep 2
done
