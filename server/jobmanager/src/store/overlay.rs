//! A file that can be looked at as if it could be written: reads come from the file, writes stay in
//! memory. So a database can be verified, crash recovery included, before anything in it is changed.

use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

/// How much of the file one changed block covers. Bytes; the page size of the database.
const BLOCK: u64 = 4096;

/// A file under a layer of changes.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// How much of the file still shows through. Bytes; a cut is not undone by growing again.
    visible: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Looks at `file`, which is only read.
    pub(super) fn new(file: File) -> io::Result<Overlay> {
        let len = file.metadata()?.len();
        let changes = Mutex::new(Changes {
            len,
            visible: len,
            blocks: BTreeMap::new(),
        });
        Ok(Overlay { file, changes })
    }

    /// One block as the file has it, with zeros where the file has nothing.
    fn original(&self, block: u64, visible: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK as usize];
        let start = block * BLOCK;
        let there = visible.saturating_sub(start).min(BLOCK) as usize;
        read_at(&self.file, start, &mut bytes[..there])?;
        Ok(bytes)
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, Changes> {
        // A panic of the database while it verifies leaves nothing that is used again.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of `start..start + len` by block: the block, where in it, and how many bytes.
fn parts(start: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = start + len as u64;
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let offset = at % BLOCK;
        let count = (BLOCK - offset).min(end - at);
        let part = (at / BLOCK, offset as usize, count as usize);
        at += count;
        Some(part)
    })
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(out)
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        let in_range = offset
            .checked_add(out.len() as u64)
            .is_some_and(|end| end <= changes.len);
        if !in_range {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (block, from, count) in parts(offset, out.len()) {
            let target = &mut out[done..done + count];
            match changes.blocks.get(&block) {
                Some(bytes) => target.copy_from_slice(&bytes[from..from + count]),
                None => {
                    let bytes = self.original(block, changes.visible)?;
                    target.copy_from_slice(&bytes[from..from + count]);
                }
            }
            done += count;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.len = len;
        changes.visible = changes.visible.min(len);
        changes.blocks.retain(|block, _| block * BLOCK < len);
        if let Some(bytes) = changes.blocks.get_mut(&(len / BLOCK)) {
            bytes[(len % BLOCK) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        let visible = changes.visible;
        let mut done = 0;
        for (block, from, count) in parts(offset, data.len()) {
            let bytes = match changes.blocks.entry(block) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(self.original(block, visible)?)
                }
            };
            bytes[from..from + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7u8; 6000]).unwrap();
        let overlay = Overlay::new(File::open(&path).unwrap()).unwrap();

        overlay.set_len(10_000).unwrap();
        overlay.write(4000, &[1; 300]).unwrap();
        let mut seen = vec![0; 10_000];
        overlay.read(0, &mut seen).unwrap();

        let mut expected = vec![7u8; 6000];
        expected.resize(10_000, 0);
        expected[4000..4300].fill(1);
        assert_eq!(seen, expected);
        assert!(overlay.read(9_999, &mut [0; 2]).is_err());

        overlay.set_len(4100).unwrap();
        overlay.set_len(6000).unwrap();
        overlay.read(0, &mut seen[..6000]).unwrap();
        expected[4100..].fill(0);
        assert_eq!(seen[..6000], expected[..6000]);
        assert_eq!(std::fs::read(&path).unwrap(), vec![7u8; 6000]);
    }
}
