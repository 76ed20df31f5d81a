#!/bin/sh
# Makes base/secrets.env from secrets.env.example with new secrets. Never touches one that is there.
set -eu
cd "$(dirname "$0")/base"
if [ -e secrets.env ]; then
    echo "docker/kubernetes/base/secrets.env is there already: nothing was changed" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
    [A-Z]*=) line=$line$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done <secrets.env.example >secrets.env.new
mv secrets.env.new secrets.env
echo "made docker/kubernetes/base/secrets.env"
