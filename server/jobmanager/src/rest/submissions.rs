//! How fast a client may submit jobs: some at once, and then so many per second.
//!
//! A job is kept for long, its submission costs a durable write, and a program in a loop makes very many of them. So
//! nobody has more than a share, and whoever submits too fast is told when to try again, before anything is read.
//! A client is who it is known to be, and where nothing is asked of anybody, the address from which it comes.

use super::Rest;
use super::error::Failure;
use crate::options::SubmissionRate;
use crate::security::Caller;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use taskmanager::tls::Peer;

/// How many clients are remembered; each is for as long as what it has submitted counts.
const MAX_CLIENTS: usize = 10_000;

/// Whose submissions are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    /// Somebody of this name, and by what it is known.
    Known(&'static str, String),
    /// Whoever comes from there.
    At(IpAddr),
}

/// Counts what clients submit. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Submissions {
    rate: Option<SubmissionRate>,
    clients: Arc<Mutex<Clients>>,
}

/// When what each client has submitted is worked off, if that is later than now.
#[derive(Debug, Default)]
struct Clients(HashMap<Client, Instant>);

impl Submissions {
    /// Lets nobody submit faster than that.
    pub(crate) fn limited(rate: Option<SubmissionRate>) -> Submissions {
        Submissions {
            rate,
            clients: Arc::default(),
        }
    }

    fn take(&self, client: Client) -> Result<(), Failure> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let clients = self.clients.lock();
        let mut clients = clients.unwrap_or_else(PoisonError::into_inner);
        let taken = clients.take(client, rate, Instant::now());
        taken.map_err(|wait| {
            let (per_second, at_once) = (rate.per_second, rate.at_once);
            // The answer is in whole seconds, and none would be no wait.
            let seconds = wait.as_secs() + 1;
            let words = format!(
                "too many jobs at once: a client may submit {per_second} per second (rest.submission.rate), and \
                 {at_once} after a while without any (rest.submission.burst); try again in {seconds} s"
            );
            Failure::too_many(words, seconds)
        })
    }
}

impl Clients {
    /// Counts one, or says after which time it can be.
    fn take(&mut self, client: Client, rate: SubmissionRate, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.per_second.get();
        if self.0.len() >= MAX_CLIENTS && !self.0.contains_key(&client) {
            self.0.retain(|_, free| *free > now);
            if self.0.len() >= MAX_CLIENTS {
                return Err(each);
            }
        }
        let free = self.0.get(&client).map_or(now, |free| now.max(*free));
        let latest = now + each * (rate.at_once.get() - 1);
        if free > latest {
            return Err(free - latest);
        }
        self.0.insert(client, free + each);
        Ok(())
    }
}

/// Somebody who may submit a job now.
pub(super) struct Submitter;

impl FromRequestParts<Rest> for Submitter {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Submitter, Failure> {
        let caller = parts.extensions.get::<Caller>().unwrap_or(&Caller::Anybody);
        let client = match caller {
            Caller::Anybody => {
                let peer: Option<&Peer> = parts.extensions.get();
                let address = peer.map(|peer| peer.address.ip());
                Client::At(network(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into())))
            }
            Caller::Token(name) | Caller::Jwt(name) | Caller::Certificate(name) => {
                Client::Known(caller.known_by(), name.clone())
            }
        };
        rest.submissions.take(client)?;
        Ok(Submitter)
    }
}

/// What one machine cannot choose of its address: in IPv6, it has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::num::NonZeroU32;

    fn rate(per_second: u32, at_once: u32) -> SubmissionRate {
        let [per_second, at_once] = [per_second, at_once].map(|it| NonZeroU32::new(it).unwrap());
        SubmissionRate {
            per_second,
            at_once,
        }
    }

    fn known(name: &str) -> Client {
        Client::Known("token", name.to_owned())
    }

    #[test]
    fn some_may_come_at_once_and_then_so_many_per_second() {
        let (mut clients, start, rate) = (Clients::default(), Instant::now(), rate(4, 3));
        let mut taken = |name: &str, after_ms: u64| {
            let at = start + Duration::from_millis(after_ms);
            clients
                .take(known(name), rate, at)
                .map_err(|wait| wait.as_millis())
        };
        for _ in 0..3 {
            assert_eq!(taken("alice", 0), Ok(()));
        }
        assert_eq!(taken("alice", 0), Err(250));
        assert_eq!(taken("alice", 100), Err(150));
        assert_eq!(taken("bob", 100), Ok(()), "others are not held up");
        assert_eq!(taken("alice", 250), Ok(()));
        assert_eq!(taken("alice", 250), Err(250));
        for _ in 0..3 {
            assert_eq!(taken("alice", 10_000), Ok(()), "nobody saves up more");
        }
        assert_eq!(taken("alice", 10_000), Err(250));
    }

    #[test]
    fn clients_are_forgotten_when_what_they_did_is_and_not_before() {
        let (mut clients, start, rate) = (Clients::default(), Instant::now(), rate(1, 1));
        for number in 0..MAX_CLIENTS {
            let client = known(&number.to_string());
            assert_eq!(clients.take(client, rate, start), Ok(()));
        }
        let second = Duration::from_secs(1);
        assert_eq!(clients.take(known("late"), rate, start), Err(second));
        assert_eq!(clients.take(known("7"), rate, start), Err(second));
        assert_eq!(clients.take(known("late"), rate, start + second), Ok(()));
        assert_eq!(clients.0.len(), 1);
    }

    #[test]
    fn a_machine_with_many_addresses_is_one_client() {
        for (address, wanted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let network = network(address.parse().unwrap());
            assert_eq!(network, wanted.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
