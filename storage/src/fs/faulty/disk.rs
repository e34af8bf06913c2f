//! The faulty disk: names over inodes, faults, room and power.

use super::Fault;
use super::chance::Chance;
use super::inode::Inode;
use crate::fs::Mode;
use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::path::{Path, PathBuf};

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// A change of names since its directory was synced.
#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

pub(super) struct Disk {
    pub(super) chance: Chance,
    pub(super) capacity_bytes: Option<u64>,
    /// What fails once, and how many operations of its kind pass before.
    pub(super) once: Vec<(Fault, usize)>,
    pub(super) per_mille: Vec<(Fault, u64)>,
    /// Operations that change something, so far.
    pub(super) operations: u64,
    pub(super) power_fails_at: Option<u64>,
    #[cfg(any(test, feature = "plant"))]
    pub(super) lie: Option<crate::fs::Lie>,
    inodes: BTreeMap<u64, Inode>,
    names: Names,
    durable_names: Names,
    pending_names: Vec<NameChange>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        let names = Names::from([(PathBuf::from("/"), Node::Dir)]);
        Disk {
            chance: Chance::new(seed),
            capacity_bytes: None,
            once: Vec::new(),
            per_mille: Vec::new(),
            operations: 0,
            power_fails_at: None,
            #[cfg(any(test, feature = "plant"))]
            lie: None,
            inodes: BTreeMap::new(),
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
        }
    }

    /// The disk as it comes back after the power failed now.
    pub(super) fn survivor(&mut self) -> Disk {
        let mut names = self.durable_names.clone();
        for change in &self.pending_names {
            if self.chance.coin() {
                change.apply(&mut names);
            }
        }
        let orphan = |path: &PathBuf, names: &Names| {
            path.ancestors().skip(1).any(|parent| names.get(parent) != Some(&Node::Dir))
        };
        let all = names.clone();
        names.retain(|path, _| !orphan(path, &all));
        let mut inodes = BTreeMap::new();
        names.retain(|_, node| {
            let Node::File(id) = node else { return true };
            let survivor = self.inodes.get(id).and_then(|inode| inode.survivor(&mut self.chance));
            survivor.map(|inode| inodes.insert(*id, inode)).is_some()
        });
        Disk {
            capacity_bytes: self.capacity_bytes,
            #[cfg(any(test, feature = "plant"))]
            lie: self.lie,
            inodes,
            durable_names: names.clone(),
            names,
            ..Disk::new(self.chance.next())
        }
    }

    /// Counts an operation; an error when the power is off or a planned fault strikes.
    pub(super) fn operate(&mut self, fault: Fault) -> io::Result<()> {
        self.powered()?;
        self.operations += 1;
        self.powered()?;
        let strikes = |(planned, passing): &mut (Fault, usize)| {
            let strikes = *planned == fault && *passing == 0;
            *passing -= usize::from(*planned == fault && *passing > 0);
            strikes
        };
        if let Some(at) = self.once.iter_mut().position(strikes) {
            self.once.remove(at);
            return Err(Error::other(format!("injected {fault:?} fault")));
        }
        let odds = self.per_mille.iter().find(|(planned, _)| *planned == fault).map_or(0, |(_, odds)| *odds);
        if odds > 0 && self.chance.below(1000) < odds {
            return Err(Error::other(format!("injected {fault:?} fault")));
        }
        Ok(())
    }

    pub(super) fn powered(&self) -> io::Result<()> {
        match self.power_fails_at {
            Some(at) if self.operations >= at => Err(Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    pub(super) fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| Error::from(ErrorKind::NotFound))
    }

    /// An inode together with the seed's choices.
    pub(super) fn inode_and_chance(&mut self, id: u64) -> io::Result<(&mut Inode, &mut Chance)> {
        let inode = self.inodes.get_mut(&id).ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        Ok((inode, &mut self.chance))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let used = |(id, inode): (&u64, &Inode)| {
            let named = self.names.values().any(|node| *node == Node::File(*id));
            if named || inode.handles > 0 { inode.allocated() } else { 0 }
        };
        self.inodes.iter().map(used).sum()
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    pub(super) fn open(&mut self, path: &Path, mode: Mode) -> io::Result<u64> {
        self.powered()?;
        let id = match (self.names.get(path), mode) {
            (Some(Node::Dir), _) => return Err(ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), Mode::CreateNew) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(Node::File(id)), _) => *id,
            (None, Mode::Read | Mode::ReadWrite) => return Err(ErrorKind::NotFound.into()),
            (None, Mode::Create | Mode::CreateNew) => {
                self.operate(Fault::Name)?;
                self.parent_of(path)?;
                let id = self.inodes.keys().last().map_or(0, |last| last + 1);
                self.inodes.insert(id, Inode::default());
                self.rename_in_cache(NameChange::Link(path.to_owned(), Node::File(id)));
                id
            }
        };
        self.inode(id)?.handles += 1;
        Ok(id)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.operate(Fault::Name)?;
        self.parent_of(path)?;
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename_in_cache(NameChange::Link(path.to_owned(), Node::Dir));
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.powered()?;
        self.must_be_dir(dir)?;
        let here = self.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        self.powered()?;
        Ok(self.names.contains_key(path))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(Fault::Name)?;
        let node = *self.names.get(from).ok_or(ErrorKind::NotFound)?;
        self.rename_in_cache(NameChange::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.operate(Fault::Name)?;
        if !matches!(self.names.get(path), Some(Node::File(_))) {
            return Err(ErrorKind::NotFound.into());
        }
        self.rename_in_cache(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.operate(Fault::SyncDir)?;
        self.must_be_dir(dir)?;
        #[cfg(any(test, feature = "plant"))]
        if self.lie == Some(crate::fs::Lie::Directories) {
            return Ok(());
        }
        for change in std::mem::take(&mut self.pending_names) {
            if change.parent() == Some(dir) {
                change.apply(&mut self.durable_names);
            } else {
                self.pending_names.push(change);
            }
        }
        Ok(())
    }

    pub(super) fn file_at(&self, path: &Path) -> Option<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Some(*id),
            _ => None,
        }
    }

    fn rename_in_cache(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn parent_of(&self, path: &Path) -> io::Result<()> {
        self.must_be_dir(path.parent().ok_or(ErrorKind::InvalidInput)?)
    }

    fn must_be_dir(&self, dir: &Path) -> io::Result<()> {
        match self.names.get(dir) {
            Some(Node::Dir) => Ok(()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl NameChange {
    fn parent(&self) -> Option<&Path> {
        let (NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(path, _, _)) = self;
        path.parent()
    }

    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}
