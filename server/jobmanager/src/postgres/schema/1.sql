-- Version 1. One transaction; what stands here is never changed, later versions add files.

-- The fence of each cluster. Whoever loads the records mints the next epoch, and a write counts only in the
-- latest one. `write` is the number of the last write in it: one that was given up by its writer, and arrives
-- when a later one has been made, is refused like one of an old epoch.
CREATE TABLE jobmanager.epochs (
    cluster text PRIMARY KEY,
    epoch bigint NOT NULL,
    write bigint NOT NULL
) WITH (fillfactor = 10);

-- What survives a JobManager: `record` is what it reads, `facts` is some of it for people.
CREATE TABLE jobmanager.records (
    cluster text NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    job text NOT NULL,
    record bytea NOT NULL,
    facts jsonb NOT NULL,
    PRIMARY KEY (cluster, key)
);

-- Who leads each cluster, and until when others leave it alone, by this server's clock. The epoch and the
-- addresses are those of a leader that answers; they are absent from its election until then.
CREATE TABLE jobmanager.leaders (
    cluster text PRIMARY KEY,
    holder text NOT NULL,
    expires timestamptz NOT NULL,
    renewed timestamptz NOT NULL,
    epoch bigint,
    rest text,
    rpc text
) WITH (fillfactor = 10);

CREATE VIEW jobmanager.jobs AS
    SELECT j.cluster,
           j.job,
           j.facts ->> 'name' AS name,
           to_timestamp((j.facts ->> 'submitted_ms')::double precision / 1000) AS submitted,
           (j.facts ->> 'vertices')::integer AS vertices,
           (j.facts ->> 'tasks')::bigint AS tasks,
           EXISTS (SELECT FROM jobmanager.records c
                    WHERE c.cluster = j.cluster AND c.key = 'cancel/' || j.job) AS cancel_requested
      FROM jobmanager.records j
     WHERE j.kind = 'job';

CREATE VIEW jobmanager.checkpoints AS
    SELECT cluster,
           job,
           (facts ->> 'id')::bigint AS checkpoint,
           to_timestamp((facts ->> 'triggered_ms')::double precision / 1000) AS triggered,
           to_timestamp((facts ->> 'completed_ms')::double precision / 1000) AS completed,
           (facts ->> 'bytes')::numeric AS bytes,
           (facts ->> 'tasks')::bigint AS tasks
      FROM jobmanager.records
     WHERE kind = 'checkpoint';

CREATE VIEW jobmanager.savepoints AS
    SELECT cluster,
           job,
           facts ->> 'trigger' AS trigger,
           to_timestamp((facts ->> 'requested_ms')::double precision / 1000) AS requested,
           facts ->> 'directory' AS directory,
           facts ->> 'after' AS after,
           to_timestamp((facts ->> 'ended_ms')::double precision / 1000) AS ended,
           facts ->> 'location' AS location,
           (facts ->> 'bytes')::numeric AS bytes,
           facts ->> 'failure' AS failure
      FROM jobmanager.records
     WHERE kind = 'savepoint';

CREATE VIEW jobmanager.results AS
    SELECT cluster,
           job,
           facts ->> 'name' AS name,
           facts ->> 'status' AS status,
           to_timestamp((facts ->> 'started_ms')::double precision / 1000) AS started,
           to_timestamp((facts ->> 'ended_ms')::double precision / 1000) AS ended,
           (facts ->> 'restarts')::bigint AS restarts,
           (facts ->> 'checkpoints')::bigint AS checkpoints,
           facts ->> 'failure' AS failure
      FROM jobmanager.records
     WHERE kind = 'result';
