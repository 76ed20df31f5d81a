#!/bin/sh
# Makes docker/.env from .env.example with new secrets. Never touches one that is there.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "docker/.env is there already: nothing was changed" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
    [A-Z]*PASSWORD= | S3_ACCESS_KEY= | S3_SECRET_KEY=) line=$line$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done <.env.example >.env.new
mv .env.new .env
echo "made docker/.env"
