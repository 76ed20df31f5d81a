#!/bin/sh
# Two databases, each with a role of its own: Prefect's and the ledger. Run once, by PostgreSQL's image, while its
# volume is empty. PSQL's variables quote the passwords, whatever characters they have.
set -eu

make_database() {
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set=name="$1" --set=password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database prefect "$PREFECT_DATABASE_PASSWORD"
make_database pixelmill "$LEDGER_PASSWORD"
