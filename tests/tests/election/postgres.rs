//! Elections by a PostgreSQL database.

use crate::conformance::{Service, conformance};
use jobmanager::election::{ClusterId, ElectionPlace, LeaseTiming};
use jobmanager::postgres::Database;
use jobmanager_tests::services::postgres::Postgres;

impl Service for Postgres {
    fn port(&self) -> u16 {
        Postgres::port(self)
    }

    fn place(&self, port: u16, cluster: ClusterId, timing: LeaseTiming) -> ElectionPlace {
        let database = Database::parse(&self.url_through(port, "")).unwrap();
        ElectionPlace::Postgres(database, cluster, timing)
    }

    fn stop(&mut self) {
        Postgres::stop(self);
    }

    fn start_again(&mut self) {
        Postgres::start_again(self);
    }

    async fn depose(&self) {
        self.sql("UPDATE jobmanager.leaders SET holder = 'another one'");
    }
}

conformance!(Postgres::start(), "needs PostgreSQL: run tests/run");
