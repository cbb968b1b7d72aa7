//! Writers whose answers are lost, who are late, who die and come back, at random: no write that was acknowledged
//! is missing, none that was refused is there, and each is there whole.

use super::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What there must be.
#[derive(Default)]
struct Model {
    /// The number of the last generation that is there for certain.
    certain: u64,
    /// That of the last one that may be there.
    possible: u64,
}

/// Two records that change together.
fn generation(number: u64) -> Vec<RecordOp> {
    vec![put(1, number), put(2, number)]
}

impl Model {
    /// Takes in what a new leader has found.
    fn found(&mut self, records: &[Record]) {
        let numbers: Vec<u64> = records.iter().map(number_of).collect();
        let number = match numbers[..] {
            [] => 0,
            [one, other] if one == other => one,
            _ => panic!("a half write: {records:?}"),
        };
        assert!((self.certain..=self.possible).contains(&number), "{number}");
        self.certain = number;
        self.possible = number;
    }
}

async fn run(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let server = Arc::new(Server::default());
    let mut model = Model::default();
    let mut deposed: Option<(BucketStore, Epoch)> = None;
    let mut number = 0;
    for _ in 0..12 {
        let store = open(&server).await;
        let mut tries = 0;
        let leader = loop {
            maybe_break(&server, &mut random);
            match store.load().await {
                Ok(leader) => break leader,
                Err(error) => assert!(tries < 50, "seed {seed}: {error}"),
            }
            tries += 1;
        };
        model.found(&leader.records);
        for _ in 0..random.next_u64() % 60 {
            // What is not known to be written is written again, as the coordinator does it.
            if model.certain == model.possible {
                number += 1;
                model.possible = number;
            }
            maybe_break(&server, &mut random);
            match store.commit(leader.epoch, generation(number)).await {
                StoreOutcome::Done => model.certain = number,
                StoreOutcome::Unknown(_) => {}
                outcome @ (StoreOutcome::Fenced | StoreOutcome::Unavailable(_)) => {
                    panic!("seed {seed}: {outcome:?}")
                }
            }
            if random.next_u64().is_multiple_of(8) {
                server.release().await;
            }
            if let Some((store, epoch)) = &deposed {
                let outcome = store.commit(*epoch, generation(999_999)).await;
                assert!(!matches!(outcome, StoreOutcome::Done), "seed {seed}");
            }
        }
        deposed = Some((store, leader.epoch));
    }
    server.release().await;
    server.heal();
    let last = open(&server).await.load().await.unwrap();
    model.found(&last.records);
}

fn maybe_break(server: &Server, random: &mut ChaCha8Rng) {
    match random.next_u64() % 12 {
        0 => server.next(Fault::Answer),
        1 => server.next(Fault::Request),
        2 => server.next(Fault::Late),
        _ => {}
    }
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_and_none_is_made_by_halves() {
    for seed in 0..60 {
        run(seed).await;
    }
}
