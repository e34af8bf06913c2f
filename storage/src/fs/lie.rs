//! What a filesystem can lie about: the mistakes that those who use it would make if they left a step out, or did not
//! look at what came of it. Built for tests, and for faults that are planted ([`super::ForgetfulFs`], [`super::FaultyFs`]).

/// Something that was not done and is said to be: a mistake that those who go by the answer would make if they ignored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Names are durable; no directory is ever synced.
    Directories,
    /// Bytes are durable; now and then the sync of them failed, and they never reach the disk.
    Sync,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fault, FaultyFs, File, Fs, Mode};
    use std::path::Path;

    const FILE: &str = "/file";

    fn make(fs: &FaultyFs) -> Box<dyn File> {
        let file = fs.open(Path::new(FILE), Mode::CreateNew).unwrap();
        file.write_at(b"kept?", 0).unwrap();
        file
    }

    #[test]
    fn names_that_are_said_to_be_durable_go_with_the_power_of_some_disk() {
        let is_kept = |seed, lie| {
            let fs = FaultyFs::new(seed);
            fs.lie(lie);
            make(&fs).sync_data().unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
            fs.power_cut().exists(Path::new(FILE)).unwrap()
        };
        assert!((0..20).all(|seed| is_kept(seed, None)));
        assert!(!(0..20).all(|seed| is_kept(seed, Some(Lie::Directories))));
    }

    #[test]
    fn a_sync_that_failed_is_said_to_have_worked_also_after_the_power_was_away() {
        let fs = FaultyFs::new(1);
        fs.lie(Some(Lie::Sync));
        let survivor = fs.power_cut();
        survivor.fail_once(Fault::Sync);
        assert!(make(&survivor).sync_data().is_ok());
        survivor.lie(None);
        survivor.fail_once(Fault::Sync);
        assert!(survivor.open(Path::new(FILE), Mode::ReadWrite).unwrap().sync_data().is_err());
    }
}
