//! What Flink has and is not here: who asks for it is told why.

use super::{Route, delete, get, patch, post};
use crate::rest::absent;

const NO_JARS: &str = "A job is a graph, not a jar";
const NO_LOGS: &str = "Whoever starts a process keeps its log";
const NO_JAVA: &str = "There is no Java to profile";
const OTHERWISE: &str = "The parallelism changes with resource requirements";
const NO_HISTORY: &str = "Nobody keeps what the parallelism was";
const NO_DATASETS: &str = "There are no data sets";

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    let not_built = [
        delete("/cluster", absent::shut_down, "End the process with SIGTERM"),
        post("/jars/upload", absent::jar, NO_JARS),
        delete("/jars/{jar}", absent::jar, NO_JARS),
        get("/jars/{jar}/plan", absent::jar, NO_JARS),
        post("/jars/{jar}/plan", absent::jar, NO_JARS),
        post("/jars/{jar}/run", absent::jar, NO_JARS),
        post("/jars/{jar}/run-application", absent::jar, NO_JARS),
        post("/jobmanager/profiler", absent::profile, NO_JAVA),
        get("/jobmanager/profiler/{file}", absent::profile, NO_JAVA),
        post("/taskmanagers/{taskmanager}/profiler", absent::profile, NO_JAVA),
        get("/taskmanagers/{taskmanager}/profiler/{file}", absent::profile, NO_JAVA),
        get("/jobs/{job}/yarn-stop", absent::yarn_stop, "Stop with a savepoint"),
        patch("/jobs/{job}/clientHeartbeat", absent::client_heartbeat, "A job does not depend on its client"),
        post("/jobs/{job}/coordinators/{operator}", absent::operator_coordinator, "Operators run on TaskManagers alone"),
        get("/jobs/{job}/jobmanager/log-url", absent::log_url, NO_LOGS),
        get("/jobs/{job}/taskmanagers/{taskmanager}/log-url", absent::log_url, NO_LOGS),
        get("/jobs/{job}/rescales/config", absent::rescales, NO_HISTORY),
        get("/jobs/{job}/rescales/details/{rescale}", absent::rescales, NO_HISTORY),
        get("/jobs/{job}/rescales/history", absent::rescales, NO_HISTORY),
        get("/jobs/{job}/rescales/overview", absent::rescales, NO_HISTORY),
        get("/jobs/{job}/rescales/summary", absent::rescales, NO_HISTORY),
        patch("/jobs/{job}/rescaling", absent::rescaling, OTHERWISE),
        get("/jobs/{job}/rescaling/{trigger}", absent::rescaling, OTHERWISE),
    ];
    let not_there = [
        delete("/datasets/{dataset}", absent::dataset, NO_DATASETS),
        get("/datasets/delete/{trigger}", absent::dataset, NO_DATASETS),
        get("/jobmanager/log", absent::log, NO_LOGS),
        get("/jobmanager/stdout", absent::log, NO_LOGS),
        get("/jobmanager/logs/{file}", absent::log, NO_LOGS),
        get("/taskmanagers/{taskmanager}/log", absent::log, NO_LOGS),
        get("/taskmanagers/{taskmanager}/stdout", absent::log, NO_LOGS),
        get("/taskmanagers/{taskmanager}/logs/{file}", absent::log, NO_LOGS),
    ];
    let refused = |status: u16| move |route: Route| route.with(status).gives(r#"{"errors": ["why"]}"#);
    let not_built = not_built.into_iter().map(refused(501));
    not_built.chain(not_there.into_iter().map(refused(404))).collect()
}
