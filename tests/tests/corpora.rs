//! The fuzz targets' corpora, run on stable: whatever was found once holds here, too.

#![allow(clippy::unwrap_used)]

use jobmanager_fuzz::TARGETS;
use std::path::Path;

#[test]
fn no_input_of_a_corpus_breaks_a_promise() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let inputs: Vec<_> = std::fs::read_dir(corpora.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = std::fs::read(&input).unwrap();
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("{name}: {}", input.display());
            }
        }
    }
}
