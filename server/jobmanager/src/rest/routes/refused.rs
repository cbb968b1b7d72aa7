//! What Flink has and is not here: who asks for it is told why.

use super::{Route, delete, get, patch, post};
use crate::rest::absent;
use crate::security::Role::{Admin, Operator, Viewer};

const NO_JARS: &str = "A job is a graph, not a jar";
const NO_LOGS: &str = "No other server has logs";
const NO_OUTPUT: &str = "Whoever starts a process keeps what it prints";
const NO_JAVA: &str = "There is no Java to profile";
const OTHERWISE: &str = "The parallelism changes with resource requirements";
const NO_HISTORY: &str = "Nobody keeps what the parallelism was";
const NO_DATASETS: &str = "There are no data sets";

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    let not_built = [
        delete(Admin, "/cluster", absent::shut_down, "End the process with SIGTERM"),
        post(Admin, "/jars/upload", absent::jar, NO_JARS),
        delete(Admin, "/jars/{jar}", absent::jar, NO_JARS),
        get(Viewer, "/jars/{jar}/plan", absent::jar, NO_JARS),
        post(Operator, "/jars/{jar}/plan", absent::jar, NO_JARS),
        post(Operator, "/jars/{jar}/run", absent::jar, NO_JARS),
        post(Operator, "/jars/{jar}/run-application", absent::jar, NO_JARS),
        post(Admin, "/jobmanager/profiler", absent::profile, NO_JAVA),
        get(Viewer, "/jobmanager/profiler/{file}", absent::profile, NO_JAVA),
        post(Admin, "/taskmanagers/{taskmanager}/profiler", absent::profile, NO_JAVA),
        get(Viewer, "/taskmanagers/{taskmanager}/profiler/{file}", absent::profile, NO_JAVA),
        get(Operator, "/jobs/{job}/yarn-stop", absent::yarn_stop, "Stop with a savepoint"),
        patch(Operator, "/jobs/{job}/clientHeartbeat", absent::client_heartbeat, "A job does not depend on its client"),
        post(Operator, "/jobs/{job}/coordinators/{operator}", absent::operator_coordinator, "Operators run on TaskManagers alone"),
        get(Viewer, "/jobs/{job}/jobmanager/log-url", absent::log_url, NO_LOGS),
        get(Viewer, "/jobs/{job}/taskmanagers/{taskmanager}/log-url", absent::log_url, NO_LOGS),
        get(Viewer, "/jobs/{job}/rescales/config", absent::rescales, NO_HISTORY),
        get(Viewer, "/jobs/{job}/rescales/details/{rescale}", absent::rescales, NO_HISTORY),
        get(Viewer, "/jobs/{job}/rescales/history", absent::rescales, NO_HISTORY),
        get(Viewer, "/jobs/{job}/rescales/overview", absent::rescales, NO_HISTORY),
        get(Viewer, "/jobs/{job}/rescales/summary", absent::rescales, NO_HISTORY),
        patch(Operator, "/jobs/{job}/rescaling", absent::rescaling, OTHERWISE),
        get(Viewer, "/jobs/{job}/rescaling/{trigger}", absent::rescaling, OTHERWISE),
    ];
    let not_there = [
        delete(Admin, "/datasets/{dataset}", absent::dataset, NO_DATASETS),
        get(Viewer, "/datasets/delete/{trigger}", absent::dataset, NO_DATASETS),
        get(Viewer, "/jobmanager/stdout", absent::stdout, NO_OUTPUT),
        get(Viewer, "/taskmanagers/{taskmanager}/stdout", absent::stdout, NO_OUTPUT),
    ];
    let refused = |status: u16| move |route: Route| route.with(status).gives(r#"{"errors": ["why"]}"#);
    let not_built = not_built.into_iter().map(refused(501));
    not_built.chain(not_there.into_iter().map(refused(404))).collect()
}
