//! The table of what only this shell reads. What the machines read is in the core's.

use jobmanager_core::config::{OptionSpec, Scope};

const fn shell(key: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec {
        key,
        default,
        scope: Scope::Cluster,
        doc,
    }
}

pub(super) const REST_BIND: &str = "rest.bind-address";
pub(super) const REST_ADDRESS: &str = "rest.address";
pub(super) const REST_HOSTS: &str = "rest.allowed-hosts";
pub(super) const REST_PORT: &str = "rest.port";
pub(super) const SUBMISSION_RATE: &str = "rest.submission.rate";
pub(super) const SUBMISSION_BURST: &str = "rest.submission.burst";
pub(super) const MAX_JOBS: &str = "jobmanager.max-jobs";
pub(super) const RPC_BIND: &str = "jobmanager.bind-host";
pub(super) const RPC_ADDRESS: &str = "jobmanager.rpc.address";
pub(super) const RPC_PORT: &str = "jobmanager.rpc.port";
pub(super) const DATA_DIR: &str = "jobmanager.data-dir";
pub(super) const STORE: &str = "jobmanager.store";
pub(super) const HA_TYPE: &str = "high-availability.type";
pub(super) const CLUSTER_ID: &str = "high-availability.cluster-id";
pub(super) const LEASE_DURATION: &str = "high-availability.leader-election.lease-duration";
pub(super) const RENEW_DEADLINE: &str = "high-availability.leader-election.renew-deadline";
pub(super) const RETRY_PERIOD: &str = "high-availability.leader-election.retry-period";
pub(super) const ETCD_ENDPOINTS: &str = "high-availability.etcd.endpoints";
pub(super) const ETCD_AUTHORITIES: &str = "high-availability.etcd.tls.ca";
pub(super) const ETCD_CERTIFICATE: &str = "high-availability.etcd.tls.certificate";
pub(super) const ETCD_KEY: &str = "high-availability.etcd.tls.key";
pub(super) const ZOOKEEPER_QUORUM: &str = "high-availability.zookeeper.quorum";
pub(super) const ZOOKEEPER_ROOT: &str = "high-availability.zookeeper.path.root";
pub(super) const ZOOKEEPER_SESSION: &str = "high-availability.zookeeper.client.session-timeout";
pub(super) const ZOOKEEPER_CONNECTION: &str =
    "high-availability.zookeeper.client.connection-timeout";
pub(super) const KUBERNETES_FILE: &str = "kubernetes.config.file";
pub(super) const KUBERNETES_CONTEXT: &str = "kubernetes.context";
pub(super) const KUBERNETES_NAMESPACE: &str = "kubernetes.namespace";
pub(super) const KUBERNETES_TEMPLATE: &str = "kubernetes.pod-template-file.taskmanager";
pub(super) const KUBERNETES_IMAGE: &str = "kubernetes.container.image";
pub(super) const KUBERNETES_CPU: &str = "kubernetes.taskmanager.cpu";
pub(super) const PROCESS_MEMORY: &str = "taskmanager.memory.process.size";
pub(super) const JOBMANAGERS: &str = "taskmanager.jobmanager-addresses";
pub(super) const ALLOWED_DIRS: &str = "taskmanager.allowed-dirs";
pub(super) const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";
pub(super) const SAVEPOINT_DIR: &str = "execution.checkpointing.savepoint-dir";
pub(super) const WEB_TIMEOUT: &str = "web.timeout";
pub(super) const WEB_REFRESH: &str = "web.refresh-interval";
pub(super) const WEB_DIR: &str = "web.dir";

pub(super) const INTERNAL_ENABLED: &str = "security.ssl.internal.enabled";
pub(super) const INTERNAL_CERTIFICATE: &str = "security.ssl.internal.certificate";
pub(super) const INTERNAL_KEY: &str = "security.ssl.internal.key";
pub(super) const INTERNAL_CA: &str = "security.ssl.internal.ca";
pub(super) const INTERNAL_CRL: &str = "security.ssl.internal.crl";
pub(super) const INTERNAL_NAME: &str = "security.ssl.internal.cluster-name";
pub(super) const REST_ENABLED: &str = "security.ssl.rest.enabled";
pub(super) const REST_CERTIFICATE: &str = "security.ssl.rest.certificate";
pub(super) const REST_KEY: &str = "security.ssl.rest.key";
pub(super) const REST_CLIENTS: &str = "security.ssl.rest.authentication-enabled";
pub(super) const REST_CA: &str = "security.ssl.rest.ca";
pub(super) const REST_CRL: &str = "security.ssl.rest.crl";
pub(super) const TOKENS: &str = "security.rest.tokens";
pub(super) const JWKS: &str = "security.jwt.jwks";
pub(super) const JWT_CA: &str = "security.jwt.ca";
pub(super) const JWT_ISSUER: &str = "security.jwt.issuer";
pub(super) const JWT_AUDIENCE: &str = "security.jwt.audience";
pub(super) const JWT_USER: &str = "security.jwt.user-claim";
pub(super) const JWT_ROLES: &str = "security.jwt.roles-claim";
pub(super) const JWT_VIEWER: &str = "security.jwt.viewer-role";
pub(super) const JWT_OPERATOR: &str = "security.jwt.operator-role";
pub(super) const JWT_ADMIN: &str = "security.jwt.admin-role";
pub(super) const ALLOW_INSECURE: &str = "security.allow-insecure";

pub(super) const LOG_MEMORY: &str = "log.memory";
pub(super) const RECORDER_MEMORY: &str = "jobmanager.flight-recorder.memory";
pub(super) const RECORDER_DIR: &str = "jobmanager.flight-recorder.dir";

pub(super) const TRACES_ENDPOINT: &str = "traces.otlp.endpoint";
pub(super) const TRACES_HEADERS: &str = "traces.otlp.headers";
pub(super) const TRACES_CA: &str = "traces.otlp.ca";
pub(super) const TRACES_NAME: &str = "traces.otlp.service-name";

/// The options that only this shell reads.
pub static SHELL_OPTIONS: [OptionSpec; 67] = [
    shell(REST_BIND, "", "Where REST listens; rest.address if unset."),
    shell(REST_ADDRESS, "127.0.0.1", "Where clients reach REST."),
    shell(REST_PORT, "8081", "The port of REST; 0 takes a free one."),
    shell(
        REST_HOSTS,
        "",
        "By which other names than rest.address clients may call REST where none has a token, with commas between them; * for any.",
    ),
    shell(
        SUBMISSION_RATE,
        "1000",
        "How many jobs per second a client may submit in the long run: somebody with a name, or else an address; 0 for as many as it likes.",
    ),
    shell(
        SUBMISSION_BURST,
        "10000",
        "How many jobs a client may submit at once, if it has submitted none for a while.",
    ),
    shell(
        MAX_JOBS,
        "10000",
        "How many jobs there may be that have not ended; 0 for as many as there is room for, which are 100000.",
    ),
    shell(
        RPC_BIND,
        "",
        "Where TaskManagers connect; jobmanager.rpc.address if unset.",
    ),
    shell(
        RPC_ADDRESS,
        "127.0.0.1",
        "Where TaskManagers reach the JobManager.",
    ),
    shell(
        RPC_PORT,
        "6123",
        "The port for TaskManagers; 0 takes a free one.",
    ),
    shell(
        DATA_DIR,
        "jobmanager-data",
        "The folder of the durable metadata.",
    ),
    shell(
        STORE,
        "",
        "A PostgreSQL database for the durable metadata, as postgres://USER@HOST:PORT/NAME, or a prefix in object storage, as s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX; the data folder if unset.",
    ),
    shell(
        HA_TYPE,
        "NONE",
        "How one of several JobManagers is elected: NONE, FILE_LOCK (of those that share a data folder), POSTGRES (of those that share a database, by that database), ETCD, ZOOKEEPER or KUBERNETES.",
    ),
    shell(
        CLUSTER_ID,
        "/default",
        "The name of the cluster, for services that several clusters use.",
    ),
    shell(
        LEASE_DURATION,
        "5 s",
        "How long others leave a leader alone that does not renew its lease.",
    ),
    shell(
        RENEW_DEADLINE,
        "4 s",
        "How long a leader leads that cannot renew its lease.",
    ),
    shell(
        RETRY_PERIOD,
        "1 s",
        "How often a leader renews its lease, and others look whether they can have it.",
    ),
    shell(
        ETCD_ENDPOINTS,
        "",
        "The servers of etcd, with commas between them, such as http://HOST:2379.",
    ),
    shell(
        ETCD_AUTHORITIES,
        "",
        "The file of the authorities that may have signed the certificates of etcd, in PEM; needed for https.",
    ),
    shell(
        ETCD_CERTIFICATE,
        "",
        "The file of the certificate that etcd asks its clients for, in PEM.",
    ),
    shell(ETCD_KEY, "", "The file of that certificate's key, in PEM."),
    shell(
        ZOOKEEPER_QUORUM,
        "",
        "The servers of ZooKeeper, with commas between them, each as HOST:PORT.",
    ),
    shell(
        ZOOKEEPER_ROOT,
        "/jobmanager",
        "The node of ZooKeeper below which each cluster has one of its name.",
    ),
    shell(
        ZOOKEEPER_SESSION,
        "",
        "How long ZooKeeper leaves a leader alone that it does not hear of; high-availability.leader-election.lease-duration if unset.",
    ),
    shell(
        ZOOKEEPER_CONNECTION,
        "15 s",
        "How long a server of ZooKeeper may keep silent before another one is tried, if two fifths of the session are not shorter.",
    ),
    shell(
        KUBERNETES_FILE,
        "",
        "The file that tells how to reach Kubernetes; what kubectl takes if unset, or what a pod is given.",
    ),
    shell(
        KUBERNETES_CONTEXT,
        "",
        "The context of that file; its current one if unset.",
    ),
    shell(
        KUBERNETES_NAMESPACE,
        "",
        "The namespace of what is made in Kubernetes; the context's or the pod's if unset.",
    ),
    shell(
        KUBERNETES_TEMPLATE,
        "",
        "The file of a Pod, in YAML, of which those of TaskManagers are made that are started for jobs; one with nothing special if unset.",
    ),
    shell(
        KUBERNETES_IMAGE,
        "",
        "The image of these pods, unless the file names one.",
    ),
    shell(
        KUBERNETES_CPU,
        "",
        "How many processors each of these pods requests and may use, such as 2, 0.5 or 500m; what the file says if unset.",
    ),
    shell(
        PROCESS_MEMORY,
        "",
        "How much memory each of these pods requests and may use; what the file says if unset.",
    ),
    shell(
        JOBMANAGERS,
        "",
        "Where TaskManagers that are started for jobs find the JobManagers, each as HOST:PORT, with commas between them; this one's jobmanager.rpc.address and port if unset.",
    ),
    shell(
        ALLOWED_DIRS,
        "",
        "The folders in which jobs of TaskManagers that are started as processes may have files, with commas between them, those of their savepoints included; wherever the user of the process may if unset. Other TaskManagers have --allowed-dirs.",
    ),
    shell(
        LOG_MEMORY,
        "1 mb",
        "How much of what a JobManager logs it keeps in memory for clients, and the TaskManagers that it starts as processes; at most 16 mb, 0 for nothing. Other TaskManagers have --log-memory.",
    ),
    shell(
        RECORDER_MEMORY,
        "64 mb",
        "How much of what the coordinator was told is kept for a flight recording, at least 1 mb; 0 for nothing.",
    ),
    shell(
        RECORDER_DIR,
        "",
        "Where flight recordings are written; flight-recordings in the data folder if unset.",
    ),
    shell(
        TRACES_ENDPOINT,
        "",
        "Where an OpenTelemetry collector takes traces by OTLP over HTTP, as http[s]://HOST:PORT, with the path if that is not /v1/traces; nothing is sent if unset.",
    ),
    shell(
        TRACES_HEADERS,
        "",
        "What it is told with each request, as NAME=VALUE with commas between them; a secret.",
    ),
    shell(
        TRACES_CA,
        "",
        "The file of the authorities that may have signed its certificate, in PEM; needed for https.",
    ),
    shell(
        TRACES_NAME,
        "jobmanager",
        "The name of the service in the traces.",
    ),
    shell(
        WEB_TIMEOUT,
        "10 min",
        "How long a client waits for an answer.",
    ),
    shell(WEB_REFRESH, "3 s", "How often a page should ask again."),
    shell(
        WEB_DIR,
        "",
        "The folder of a web dashboard's files, which REST serves in place of the built-in one.",
    ),
    shell(
        INTERNAL_ENABLED,
        "false",
        "Whether JobManagers and TaskManagers speak TLS, and only with members of their cluster.",
    ),
    shell(
        INTERNAL_CERTIFICATE,
        "",
        "The file of the certificate that TaskManagers are shown, in PEM.",
    ),
    shell(
        INTERNAL_KEY,
        "",
        "The file of that certificate's key, in PEM.",
    ),
    shell(
        INTERNAL_CA,
        "",
        "The file of the authorities that sign the certificates of the cluster, in PEM.",
    ),
    shell(
        INTERNAL_CRL,
        "",
        "The file of the lists of certificates that these authorities have revoked, one of each, in PEM.",
    ),
    shell(
        INTERNAL_NAME,
        "",
        "The DNS name that all certificates of the cluster have, and those of no other one; high-availability.cluster-id without slashes if unset, and one of them has to be set.",
    ),
    shell(REST_ENABLED, "false", "Whether REST speaks https."),
    shell(
        REST_CERTIFICATE,
        "",
        "The file of the certificate that clients are shown, in PEM.",
    ),
    shell(REST_KEY, "", "The file of that certificate's key, in PEM."),
    shell(
        REST_CLIENTS,
        "false",
        "Whether clients have to show a certificate.",
    ),
    shell(
        REST_CA,
        "",
        "The file of the authorities that sign the certificates of clients, in PEM.",
    ),
    shell(
        REST_CRL,
        "",
        "The file of the lists of certificates that these authorities have revoked, one of each, in PEM.",
    ),
    shell(
        TOKENS,
        "",
        "The file of those who may use REST, each with a role and the SHA-256 of a token; everybody may if unset.",
    ),
    shell(
        JWKS,
        "",
        "The file or URL of the keys (JWKS) by which JSON Web Tokens are signed that let clients in, too; none does if unset.",
    ),
    shell(
        JWT_CA,
        "",
        "The file of the authorities that may have signed the certificate of that URL's server, in PEM; needed for https.",
    ),
    shell(
        JWT_ISSUER,
        "",
        "What the claim iss of these tokens has to be; anything if unset.",
    ),
    shell(
        JWT_AUDIENCE,
        "",
        "What the claim aud of these tokens has to be or have in it; needed for security.jwt.jwks.",
    ),
    shell(
        JWT_USER,
        "sub",
        "The claim that says who somebody is, for the log of who did what.",
    ),
    shell(
        JWT_ROLES,
        "roles",
        "The claim that says what somebody may do: a text, several with spaces between them, or a list; a.b is the claim b in the claim a.",
    ),
    shell(
        JWT_VIEWER,
        "viewer",
        "Which roles there make a viewer, with commas between them.",
    ),
    shell(
        JWT_OPERATOR,
        "operator",
        "Which roles there make an operator, with commas between them.",
    ),
    shell(
        JWT_ADMIN,
        "admin",
        "Which roles there make an admin, with commas between them.",
    ),
    shell(
        ALLOW_INSECURE,
        "false",
        "Whether other machines are let in without TLS, or clients without a token or certificate.",
    ),
];
