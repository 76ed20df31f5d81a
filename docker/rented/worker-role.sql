-- A role of the ledger for workers on machines that are not yours: what a worker does, and nothing else. It cannot
-- start, change or delete a job, nor change a table. Run as the ledger's owner, in its database, and again after an
-- upgrade of Pixelmill (new tables); name and password come from outside:
--   psql "$LEDGER_URL" --set=name=rented --set=password=… --file=docker/rented/worker-role.sql
-- Creating the role needs CREATEROLE; if it is there, only its password and rights are set.
\set ON_ERROR_STOP on
SELECT format('CREATE ROLE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" LOGIN PASSWORD :'password' CONNECTION LIMIT 40;

BEGIN;
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'name') \gexec
GRANT USAGE ON SCHEMA public TO :"name";
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"name";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"name";

GRANT UPDATE (finished_at) ON jobs TO :"name";  -- required for the lock on the job's row
GRANT UPDATE ON items, shards TO :"name";
GRANT INSERT, UPDATE ON step_runs TO :"name";
GRANT INSERT, DELETE ON artefacts TO :"name";  -- one that the store has lost is forgotten, and made again
GRANT INSERT, UPDATE, DELETE ON leases, batch_sizes TO :"name";
GRANT INSERT ON model_loads TO :"name";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :"name";
COMMIT;
