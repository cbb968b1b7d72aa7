//! What happens to the metadata store and to the checkpoint storage: outages of each kind, slowness, and
//! files that are lost or damaged for ever.

use crate::marks::Mark;
use crate::storage::store::Trouble;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::Repair;
use jobmanager_core::id::JobId;

/// How many times slower a storage may become.
const SLOWNESS: [u64; 3] = [5, 30, 200];

impl World {
    pub(super) fn break_store(&mut self) -> bool {
        let trouble = [
            Trouble::Refuses,
            Trouble::LosesAnswers,
            Trouble::LosesRequests,
        ][self.fault_choice(3)];
        self.store.trouble(trouble);
        self.marks.hit(match trouble {
            Trouble::Refuses => Mark::StoreRefuses,
            Trouble::LosesAnswers => Mark::StoreLosesAnswers,
            Trouble::LosesRequests => Mark::StoreLosesRequests,
        });
        let duration = self.fault_duration();
        self.repair_after(duration, Repair::Store);
        true
    }

    pub(super) fn slow_store(&mut self) -> bool {
        self.store.slowness = SLOWNESS[self.fault_choice(SLOWNESS.len())];
        let duration = 2 * self.fault_duration();
        self.repair_after(duration, Repair::StoreSpeed);
        true
    }

    pub(super) fn break_storage(&mut self) -> bool {
        self.blobs.outage = true;
        let duration = self.fault_duration();
        self.repair_after(duration, Repair::Storage);
        true
    }

    pub(super) fn slow_storage(&mut self) -> bool {
        self.blobs.slowness = SLOWNESS[self.fault_choice(SLOWNESS.len())];
        let duration = 2 * self.fault_duration();
        self.repair_after(duration, Repair::StorageSpeed);
        true
    }

    /// A file that a restore would need is lost or damaged. Jobs that restart without any delay are
    /// spared: one that can never restore would do nothing else for the rest of the run.
    pub(super) fn spoil_file(&mut self, lost: bool) -> bool {
        let jobs = self.options.jobs.iter();
        let patient = jobs.filter(|job| job.is_fragile() || job.restart_delay > 0);
        let patient: Vec<_> = patient.map(|job| job.id).collect();
        let files = patient.into_iter().flat_map(|job| {
            let files = self.checks.latest_files(job).into_iter();
            files.map(move |file| (job, file))
        });
        let files: Vec<_> = files
            .filter(|(job, path)| self.blobs.read(*job, path).is_ok())
            .collect();
        if files.is_empty() {
            return false;
        }
        let (job, path) = files[self.fault_victim(files.len())].clone();
        self.note(Lane::Faults, "spoils", &(job, &path));
        self.blobs.spoil(job, path, lost);
        // Nobody would notice before a later checkpoint has taken its place.
        let tasks: Vec<_> = self.checks.running().collect();
        let task = tasks.into_iter().find(|(_, attempt)| attempt.job == job);
        if let Some((process, attempt)) = task
            && self.fault_choice(4) > 0
        {
            self.fail_task(process, attempt);
        }
        true
    }

    /// Whether the only state from which a job may go on was lost or damaged by a fault.
    pub(crate) fn has_lost_its_state(&self, job: JobId) -> bool {
        self.blobs.has_spoiled(job) && {
            let files = self.checks.latest_files(job);
            files.iter().any(|path| self.blobs.is_spoiled(job, path))
        }
    }
}
