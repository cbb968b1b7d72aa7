//! A word count that reads slowly, on a cluster of its own: there is time to disturb it. Whatever happens to it, the
//! committed output must be that of a run that nothing disturbs, no record lost and none doubled.

use crate::cluster::Cluster;
use crate::jobs::WordJob;
use crate::text::{assert_same, committed, counted, words, write_files};
use std::path::PathBuf;

/// How fast each reader of a [`Run`] reads, in lines per second.
const RATE: u64 = 60;

/// A word count that reads slowly enough for faults.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) job: String,
    pub(crate) out: PathBuf,
    pub(crate) copy: PathBuf,
    text: String,
}

/// What a [`Run`] is like.
pub(crate) struct Setting {
    /// Of the input, and of the moments of the faults.
    pub(crate) seed: u64,
    /// How long the input lasts for as many readers as there are at first.
    pub(crate) seconds: u64,
    /// Of every vertex but the sink of the counts.
    pub(crate) parallelism: u32,
    /// How many there are, with two slots each.
    pub(crate) taskmanagers: usize,
    pub(crate) interval: &'static str,
    pub(crate) options: &'static [(&'static str, &'static str)],
}

/// A run that others differ from in what matters to them.
pub(crate) const USUAL: Setting = Setting {
    seed: 1,
    seconds: 15,
    parallelism: 4,
    taskmanagers: 3,
    interval: "150 ms",
    options: &[],
};

impl Run {
    /// Starts everything, and waits until the job has completed a checkpoint.
    pub(crate) fn start(setting: &Setting) -> Self {
        let cluster = Cluster::start(setting.taskmanagers, 2, setting.options);
        let lines = setting.seconds * u64::from(setting.parallelism) * RATE;
        let text = write_files(&cluster.path("input"), setting.seed, lines);
        let (out, copy) = (cluster.path("out"), cluster.path("copy"));
        let input = cluster.path("input");
        let mut job = WordJob::new(&input, &out, &copy);
        (job.rate, job.parallelism) = (Some(RATE), setting.parallelism);
        let mut job = job.json();
        job["configuration"]["execution.checkpointing.interval"] = setting.interval.into();
        let job = cluster.rest.submit(&job);
        let run = Run {
            cluster,
            job,
            out,
            copy,
            text,
        };
        run.wait_for_progress();
        run
    }

    /// Waits until every task runs, and then for another checkpoint.
    pub(crate) fn wait_for_progress(&self) {
        self.cluster.rest.wait_for_all_running(&self.job);
        self.cluster.rest.wait_for_new_checkpoint(&self.job);
    }

    pub(crate) fn assert_still_reading(&self) {
        let state = self.cluster.rest.state(&self.job);
        assert_eq!(state, "RUNNING", "the input is too short for this test");
    }

    /// Waits for the end of the job, and compares what it has written.
    pub(crate) fn finish(&self) {
        self.cluster.rest.wait_for_state(&self.job, "FINISHED");
        assert_same(&committed(&self.out), &counted(&self.text));
        let mut all: Vec<_> = words(&self.text).collect();
        all.sort();
        assert_same(&committed(&self.copy), &all);
    }
}
