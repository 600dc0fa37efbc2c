//! The books of a disk: who has used it under which epoch, its path groups and its reservation.
//!
//! They are in memory, or in a file beside the image that several processes have open. Then a
//! command has the file to itself while it is carried out, so that commands of all processes have
//! one order, and a copy of a VM in one process fences that in another.
//!
//! Source of truth: this file for the form of the file. Invariant: a change of the books is in
//! the file before another process can see what was done under it. Deliberately not here: what
//! commands do with the books.

use super::{
    Access, Fence, Path, Refusal, Transfer,
    paths::{
        Gate, Holder, Member, PATH_GROUP_BYTES, PathGroupId, Paths, VmPath,
        command::{
            RELEASE, RESERVE, SENSE_PATH_GROUP_ID, SET_PATH_GROUP_ID, UNCONDITIONAL_RESERVE,
        },
    },
    take_parameters,
};
use crate::machine::lock;
use monitor_core::units::{Epoch, VmName};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, ErrorKind, Read, Seek, Write as _},
    sync::Mutex,
};

/// What a disk knows of its users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) fence: Fence,
    pub(super) paths: Paths,
}

/// Why a path command fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathError {
    /// There are fewer bytes than a path group has.
    Short,
    /// The path group makes no sense.
    WrongGroup,
}

impl Books {
    /// Whether a command may be carried out now.
    pub(super) fn gate(&mut self, access: &Access, code: u8) -> Result<Gate, Refusal> {
        self.fence.pass(access)?;
        Ok(self.paths.gate(&VmPath::of(access), code))
    }

    /// Carries out a command of path control; `sense` is what those of reservation transfer.
    pub(super) fn control_path(
        &mut self,
        access: &Access,
        code: u8,
        data: &mut dyn Transfer,
        sense: &[u8],
    ) -> Result<(), PathError> {
        let path = VmPath::of(access);
        match code {
            SENSE_PATH_GROUP_ID => {
                data.give(&self.paths.sense_group(&path));
                return Ok(());
            }
            SET_PATH_GROUP_ID => {
                let group = take_parameters::<PATH_GROUP_BYTES>(data).ok_or(PathError::Short)?;
                return self.paths.set_group(&path, &group).map_err(|_| PathError::WrongGroup);
            }
            RELEASE => self.paths.release(&path),
            _ => self.paths.reserve(&path),
        }
        data.give(sense);
        Ok(())
    }

    /// Lets the paths of the VM's new system take the place of those of its old one.
    pub(super) fn adopt(&mut self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.fence.pass(to)?;
        self.paths.adopt(&VmPath::of(from), &VmPath::of(to));
        Ok(())
    }

    /// Forgets what the VM's paths on this system have set up, unless this copy of it is fenced.
    pub(super) fn reset(&mut self, access: &Access) {
        if self.fence.pass(access).is_ok() {
            self.paths.reset(access.vm, access.path.system);
        }
    }
}

/// Whether this is a command of path control.
pub(super) const fn is_path_command(code: u8) -> bool {
    matches!(
        code,
        RESERVE | RELEASE | UNCONDITIONAL_RESERVE | SENSE_PATH_GROUP_ID | SET_PATH_GROUP_ID
    )
}

/// Keeps the books of a disk.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    books: Mutex<Books>,
    file: Option<File>,
}

impl Keeper {
    /// Books in the file at `path`, which is created when it is not there.
    pub(super) fn in_file(path: &std::path::Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { books: Mutex::default(), file: Some(file) })
    }

    /// Does `work` with the books, which nobody else has meanwhile.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> io::Result<T> {
        let mut books = lock(&self.books);
        let Some(file) = &self.file else {
            return Ok(work(&mut books));
        };
        file.lock()?;
        let outcome = with_file(file, &mut books, work);
        file.unlock()?;
        outcome
    }
}

fn with_file<T>(
    mut file: &File,
    books: &mut Books,
    work: impl FnOnce(&mut Books) -> T,
) -> io::Result<T> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    *books = from_text(&text).ok_or(ErrorKind::InvalidData)?;
    let outcome = work(books);
    let changed = to_text(books);
    if changed != text {
        file.rewind()?;
        file.write_all(changed.as_bytes())?;
        file.set_len(changed.len() as u64)?;
    }
    Ok(outcome)
}

fn path_text(path: &VmPath) -> String {
    format!("{}\t{}\t{}", path.vm, path.path.system, path.path.channel)
}

fn id_text(id: &PathGroupId) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn to_text(books: &Books) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (vm, epoch) in &books.fence.highest {
        lines.push(format!("epoch\t{vm}\t{epoch}"));
    }
    lines.push(format!("refused\t{}", books.fence.refused));
    for (path, member) in &books.paths.members {
        let (grouped, multipath) = (u8::from(member.is_grouped), u8::from(member.is_multipath));
        let (path, id) = (path_text(path), id_text(&member.id));
        lines.push(format!("member\t{path}\t{id}\t{grouped}\t{multipath}"));
    }
    for path in &books.paths.robbed {
        lines.push(format!("robbed\t{}", path_text(path)));
    }
    match &books.paths.holder {
        Some(Holder::Path(path)) => lines.push(format!("reserved for path\t{}", path_text(path))),
        Some(Holder::Group(id)) => lines.push(format!("reserved for group\t{}", id_text(id))),
        None => {}
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn vm_path(vm: &str, system: &str, channel: &str) -> Option<VmPath> {
    let path = Path { system: system.parse().ok()?, channel: channel.parse().ok()? };
    Some(VmPath { vm: VmName::new(vm)?, path })
}

fn id(text: &str) -> Option<PathGroupId> {
    let mut id = [0; 11];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(id)
}

fn from_text(text: &str) -> Option<Books> {
    let mut books = Books::default();
    let Books { fence, paths } = &mut books;
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["epoch", vm, epoch] => {
                fence.highest.insert(VmName::new(vm)?, Epoch::new(epoch.parse().ok()?));
            }
            ["refused", count] => fence.refused = count.parse().ok()?,
            ["member", vm, system, channel, group, grouped, multipath] => {
                let (is_grouped, is_multipath) = (grouped == "1", multipath == "1");
                let member = Member { id: id(group)?, is_grouped, is_multipath };
                paths.members.insert(vm_path(vm, system, channel)?, member);
            }
            ["robbed", vm, system, channel] => {
                paths.robbed.insert(vm_path(vm, system, channel)?);
            }
            ["reserved for path", vm, system, channel] => {
                paths.holder = Some(Holder::Path(vm_path(vm, system, channel)?));
            }
            ["reserved for group", group] => paths.holder = Some(Holder::Group(id(group)?)),
            _ => return None,
        }
    }
    Some(books)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::device::Buffer;

    fn access(vm: &str, epoch: u64, system: u16) -> Access {
        Access::new(VmName::new(vm).unwrap(), Epoch::new(epoch), Path { system, channel: 3 })
    }

    #[test]
    fn books_survive_the_file() {
        let mut books = Books::default();
        let (one, other) = (access("VM 1", 7, 1), access("VM2", 9, 2));
        for access in [&one, &other] {
            assert_eq!(books.gate(access, RESERVE), Ok(Gate::Open));
        }
        assert_eq!(books.gate(&access("VM2", 8, 1), RESERVE), Err(Refusal::Fenced));
        books.control_path(&other, RESERVE, &mut Buffer::input(32), &[0; 32]).unwrap();
        books.control_path(&one, UNCONDITIONAL_RESERVE, &mut Buffer::input(32), &[]).unwrap();
        assert_eq!(from_text(&to_text(&books)), Some(books.clone()));
        let group = *b"\x80\xFF\x00GROUP0001";
        books.control_path(&one, SET_PATH_GROUP_ID, &mut Buffer::output(&group), &[]).unwrap();
        assert_eq!(from_text(&to_text(&books)), Some(books));
        assert_eq!(from_text(""), Some(Books::default()));
        assert_eq!(from_text("epoch\tVM1"), None);
    }

    #[test]
    fn two_processes_have_the_same_books() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("books");
        let (one, other) = (Keeper::in_file(&path).unwrap(), Keeper::in_file(&path).unwrap());
        let gate = |keeper: &Keeper, access: &Access| {
            keeper.with(|books| books.gate(access, RESERVE)).unwrap()
        };
        let (old, new) = (access("VM1", 1, 1), access("VM1", 2, 2));
        assert_eq!(gate(&one, &old), Ok(Gate::Open));
        assert_eq!(gate(&other, &new), Ok(Gate::Open));
        assert_eq!(gate(&one, &old), Err(Refusal::Fenced));
        other
            .with(|books| books.control_path(&new, RESERVE, &mut Buffer::default(), &[]))
            .unwrap()
            .unwrap();
        assert_eq!(gate(&one, &access("VM2", 1, 1)), Ok(Gate::Wait));
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(one.with(|books| books.clone()).is_err());
    }

    #[test]
    fn short_and_wrong_path_groups_are_refused() {
        let mut books = Books::default();
        let access = access("VM1", 1, 1);
        let mut set = |bytes: &[u8]| {
            books.control_path(&access, SET_PATH_GROUP_ID, &mut Buffer::output(bytes), &[])
        };
        assert_eq!(set(&[0; 11]), Err(PathError::Short));
        assert_eq!(set(&[0x01; 12]), Err(PathError::WrongGroup));
        assert_eq!(set(&[0x00; 12]), Ok(()));
    }
}
