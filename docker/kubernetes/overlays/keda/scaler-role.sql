-- The role with which KEDA counts shards: the columns of one query, and nothing else. Safe to run again.
--   psql --set=password=… --file=scaler-role.sql
-- in the ledger's database, as its owner with CREATEROLE or as a superuser.
\set ON_ERROR_STOP on
SELECT 'CREATE ROLE scaler' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'scaler') \gexec
ALTER ROLE scaler LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
SELECT format('GRANT CONNECT ON DATABASE %I TO scaler', current_database()) \gexec
GRANT USAGE ON SCHEMA public TO scaler;
GRANT SELECT (id, status, started_at) ON jobs TO scaler;
GRANT SELECT (job_id, index, state, updated_at) ON shards TO scaler;
GRANT SELECT (job_id, shard, state) ON items TO scaler;
