//! TaskManagers that are asked for a heartbeat each second, and answer: what a second of that costs. Of a
//! core it is that part which the time is of a second.

use crate::cluster::Cluster;
use crate::{bytes_of, decoded};
use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::{Effect, Input};
use jobmanager_core::message::{FromTaskManager, ToTaskManager};
use jobmanager_proto::v1;
use prost::Message;

/// A tenth of the full size, and the full size.
const TASKMANAGERS: [u32; 2] = [10_000, 100_000];
const MILLIS: u32 = 1_000;

/// A cluster whose TaskManagers registered evenly over a second, at the end of that.
fn cluster(taskmanagers: u32) -> Cluster {
    let options = [("heartbeat.interval", "1 s"), ("heartbeat.timeout", "10 s")];
    let mut cluster = Cluster::start(&options);
    for number in 0..taskmanagers {
        cluster.register(1, 4);
        cluster.now.0 += u64::from((number + 1).is_multiple_of(taskmanagers / MILLIS));
    }
    cluster
}

/// All TaskManagers are asked, and answer, in the course of a second.
#[divan::bench(args = TASKMANAGERS, sample_count = 20, sample_size = 1)]
fn a_second_of_heartbeats(bencher: divan::Bencher, taskmanagers: u32) {
    let mut cluster = cluster(taskmanagers);
    // The shell's bytes are reused as well.
    let (mut answers, mut out) = (Vec::new(), Vec::new());
    bencher
        .counter(divan::counter::ItemsCount::new(taskmanagers))
        .bench_local(|| {
            let mut asked = 0;
            for _ in 0..MILLIS {
                asked += a_millisecond(&mut cluster, &mut answers, &mut out);
            }
            assert_eq!(asked, taskmanagers, "everybody is asked once in a second");
        });
}

/// Takes the answers of those that were asked a millisecond ago, and asks the next ones.
fn a_millisecond(
    cluster: &mut Cluster,
    answers: &mut Vec<(SessionId, Vec<u8>)>,
    out: &mut Vec<u8>,
) -> u32 {
    cluster.now.0 += 1;
    let mut asked = 0;
    let mut effects = cluster.take(Input::Wake);
    for (session, bytes) in answers.drain(..) {
        effects.extend(cluster.take(decoded(session, &bytes)));
    }
    for effect in effects {
        let Effect::Send { session, message } = effect else {
            unreachable!("nothing but heartbeats is due");
        };
        let ToTaskManager::Heartbeat { sequence } = message.message else {
            unreachable!("nothing but heartbeats is due");
        };
        out.clear();
        let wire = v1::ToTaskManager::from(&message);
        wire.encode(out).expect("a vector grows");
        let answer = bytes_of(&FromTaskManager::Heartbeat { sequence });
        answers.push((session, answer));
        asked += 1;
    }
    asked
}
