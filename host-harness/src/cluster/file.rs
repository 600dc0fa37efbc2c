//! The cluster directory as a SQLite file, which serves any number of processes on one machine.
//!
//! One row for each VM; a compare-and-set is one conditional UPDATE in a transaction that has the
//! write lock from its beginning, so that the loser is told the very record that made it lose.
//! The write-ahead log with `synchronous=FULL` costs one flush to the disk for each change, where
//! a rollback journal costs several, and a change that was answered survives a loss of power.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory` for what an answer means. Invariants:
//! a file is used only if it carries the mark of a cluster directory; every wait for a lock is
//! bounded by [`BUSY_MAX`]; after an error a change may have happened, or not. Deliberately not
//! here: waiting for answers without blocking, which a live run does.

#![expect(clippy::result_large_err, reason = "closures have to return the error of rusqlite")]

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use monitor_core::{
    units::{Epoch, SuName, VmName},
    vm::{DirectoryAnswer, Ownership, Standing},
};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior,
};

use super::FIRST_EPOCH;

/// The longest wait for a lock that another process holds: a change takes it a few milliseconds.
pub const BUSY_MAX: Duration = Duration::from_millis(200);

/// The highest epoch that a file can hold, whose numbers are signed.
pub const EPOCH_MAX: u64 = i64::MAX.cast_unsigned();

/// The mark of a cluster directory in the head of a SQLite file: "SU39".
const APPLICATION: i32 = i32::from_be_bytes(*b"SU39");

/// The version of the table.
const VERSION: i32 = 2;

const CREATE: &str = "CREATE TABLE record (
    vm TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    standing TEXT NOT NULL DEFAULT 'running' CHECK (standing IN ('claimed', 'running'))
) STRICT, WITHOUT ROWID";
/// What version 1 of the table lacks: its owners may run their VMs.
const UPGRADE: &str = "ALTER TABLE record ADD COLUMN
    standing TEXT NOT NULL DEFAULT 'running' CHECK (standing IN ('claimed', 'running'))";
const READ: &str = "SELECT vm, owner, epoch, standing FROM record WHERE vm = ?1";
const READ_ALL: &str = "SELECT vm, owner, epoch, standing FROM record ORDER BY vm";
const REPLACE: &str = "UPDATE record SET owner = ?2, epoch = ?3, standing = ?4
    WHERE vm = ?1 AND owner = ?5 AND epoch = ?6 AND standing = ?7";
const ENTER: &str = "INSERT INTO record (vm, owner, epoch, standing) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (vm) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch,
    standing = excluded.standing";

/// Why a directory file cannot be used, or did not do what was asked.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    problem: Problem,
}

/// What is wrong with a directory file.
#[derive(Debug)]
enum Problem {
    Missing,
    Foreign,
    Version(i32),
    Damaged,
    Locked,
    Epoch(Epoch),
    OwnedElsewhere(Box<Ownership>),
    NotRaised(Box<Ownership>),
    Storage(Box<dyn std::error::Error + Send + Sync>),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Storage(Box::new(error)),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::Storage(Box::new(error))
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.path.display())?;
        match &self.problem {
            Problem::Missing => formatter.write_str("there is no such file"),
            Problem::Foreign => formatter.write_str("is no cluster directory"),
            Problem::Version(version) => write!(
                formatter,
                "is a cluster directory of version {version}, not {VERSION}; a version that is \
                 older is brought up to date by su390 migrate and su390 directory set"
            ),
            Problem::Damaged => formatter.write_str("is damaged"),
            Problem::Locked => {
                write!(formatter, "was locked for more than {} ms", BUSY_MAX.as_millis())
            }
            Problem::Epoch(epoch) => write!(formatter, "cannot hold epoch {}", epoch.get()),
            Problem::OwnedElsewhere(record) => {
                write!(formatter, "the VM belongs to {}", shown(record))
            }
            Problem::NotRaised(record) => {
                write!(formatter, "the record is {}, and the epoch must be raised", shown(record))
            }
            Problem::Storage(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for FileError {}

/// Owner and epoch as people read them, and what there is to say of the owner's standing.
#[must_use]
pub fn shown(record: &Ownership) -> String {
    let standing = match record.standing {
        Standing::Claimed => ", claimed",
        Standing::Running => "",
    };
    format!("{} (epoch {}{standing})", record.owner, record.epoch.get())
}

/// The word of a standing, in the file and for people.
#[must_use]
pub const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Claimed => "claimed",
        Standing::Running => "running",
    }
}

/// A connection to a directory file.
#[derive(Debug)]
pub struct DirectoryFile {
    path: PathBuf,
    /// Device and number of the file that was opened under this path.
    identity: (u64, u64),
    connection: Connection,
}

impl DirectoryFile {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// Fails when there is no file, or it is locked, damaged, or no cluster directory.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::connect(path, OpenFlags::empty()).map_err(|problem| problem.at(path))
    }

    /// Opens a directory, which is made if there is no file or an empty one.
    ///
    /// # Errors
    /// As [`DirectoryFile::open`]; fails as well when the file cannot be made.
    pub fn open_or_create(path: &Path) -> Result<Self, FileError> {
        Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(|problem| problem.at(path))
    }

    fn connect(path: &Path, creation: OpenFlags) -> Result<Self, Problem> {
        // SQLite gives names that are not absolute meanings of their own.
        let path = absolute(path)?;
        let may_create = !creation.is_empty();
        if !may_create {
            fs::metadata(&path)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | creation;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        if may_create {
            prepare(&mut connection)?;
        }
        match marks(&connection)? {
            (APPLICATION, VERSION) => {}
            (APPLICATION, version) => return Err(Problem::Version(version)),
            _ => return Err(Problem::Foreign),
        }
        if may_create {
            use_log(&connection)?;
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(Problem::Damaged);
        }
        Ok(Self { identity: identity(&path)?, path, connection })
    }

    /// Whether the path still leads to the file that was opened.
    #[must_use]
    pub fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }

    /// All records, by the name of the VM.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn records(&self) -> Result<Vec<(VmName, Ownership)>, FileError> {
        let read = || -> Result<_, Problem> {
            let mut statement = self.connection.prepare(READ_ALL)?;
            let rows = statement.query_map([], |row| Ok(record(row)))?;
            rows.map(|row| row?).collect()
        };
        read().map_err(|problem: Problem| problem.at(&self.path))
    }

    /// The record of a VM.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn read(&self, vm: VmName) -> Result<Option<Ownership>, FileError> {
        read(&self.connection, vm).map_err(|problem| problem.at(&self.path))
    }

    /// Replaces `expected` by `new`; the answer is `Won`, `Lost` or `Missing`.
    ///
    /// # Errors
    /// Fails when the file cannot be changed; whether it was is not known then, and asking the
    /// same again finds out.
    pub fn compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<DirectoryAnswer, FileError> {
        self.change(|transaction| {
            if replace(transaction, vm, expected, new)? {
                return Ok(DirectoryAnswer::Won);
            }
            Ok(read(transaction, vm)?.map_or(DirectoryAnswer::Missing, DirectoryAnswer::Lost))
        })
    }

    /// Begins an epoch for a VM that is started at `owner`, so that no copy from an earlier start
    /// can be claimed any more.
    ///
    /// # Errors
    /// Fails when another SU owns the VM, when it is on its way to `owner`, and when the file
    /// cannot be changed.
    pub fn begin(&mut self, vm: VmName, owner: SuName) -> Result<Epoch, FileError> {
        self.change(|transaction| {
            let epoch = match read(transaction, vm)? {
                None => FIRST_EPOCH,
                Some(record) if record == Ownership::running(owner, record.epoch) => {
                    record.epoch.next()
                }
                Some(record) => return Err(Problem::OwnedElsewhere(Box::new(record))),
            };
            enter(transaction, vm, Ownership::running(owner, epoch))?;
            Ok(epoch)
        })
    }

    /// Enters a record as an operator says, and gives the one that it replaces. Unless it is
    /// forced, a record is replaced only under a higher epoch.
    ///
    /// # Errors
    /// Fails when the epoch is not raised, or the file cannot be changed.
    pub fn set(
        &mut self,
        vm: VmName,
        new: Ownership,
        force: bool,
    ) -> Result<Option<Ownership>, FileError> {
        self.change(|transaction| {
            let old = read(transaction, vm)?;
            match old {
                Some(record) if !force && record != new && new.epoch <= record.epoch => {
                    return Err(Problem::NotRaised(Box::new(record)));
                }
                Some(_) | None => enter(transaction, vm, new)?,
            }
            Ok(old)
        })
    }

    /// Makes a change as a whole, or none.
    fn change<T>(
        &mut self,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, Problem>,
    ) -> Result<T, FileError> {
        let path = &self.path;
        let change = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = action(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        change(&mut self.connection).map_err(|problem: Problem| problem.at(path))
    }
}

impl Problem {
    fn at(self, path: &Path) -> FileError {
        FileError { path: path.to_owned(), problem: self }
    }
}

/// Makes an empty file a directory, and brings one of version 1 up to date; leaves any other file
/// as it is.
fn prepare(connection: &mut Connection) -> Result<(), Problem> {
    if !matches!(marks(connection)?, (0, 0) | (APPLICATION, 1)) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let objects: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let change = match (objects, marks(&transaction)?) {
        (0, (0, 0)) => CREATE,
        (_, (APPLICATION, 1)) => UPGRADE,
        _ => return Ok(()),
    };
    transaction.execute(change, [])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Gives the file its write-ahead log. SQLite refuses that at once while somebody else works with
/// a file that has none yet; who makes the file at the same moment does the same.
fn use_log(connection: &Connection) -> Result<(), Problem> {
    match connection.pragma_update(None, "journal_mode", "WAL").map_err(Problem::from) {
        Ok(()) | Err(Problem::Locked) => Ok(()),
        Err(problem) => Err(problem),
    }
}

/// The mark and the version in the head of the file.
fn marks(connection: &Connection) -> Result<(i32, i32), Problem> {
    let mark = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((mark("application_id")?, mark("user_version")?))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

fn read(connection: &Connection, vm: VmName) -> Result<Option<Ownership>, Problem> {
    let row = connection.query_row(READ, [vm.as_str()], |row| Ok(record(row))).optional()?;
    row.map(|row| row.map(|(_, ownership)| ownership)).transpose()
}

/// The record in a row; one that no monitor could have written is damage.
fn record(row: &Row<'_>) -> Result<(VmName, Ownership), Problem> {
    let (vm, owner): (String, String) = (row.get(0)?, row.get(1)?);
    let epoch = u64::try_from(row.get::<_, i64>(2)?).map_err(|_| Problem::Damaged)?;
    let vm = VmName::new(&vm).ok_or(Problem::Damaged)?;
    let owner = SuName::new(&owner).ok_or(Problem::Damaged)?;
    let standing = match row.get::<_, String>(3)?.as_str() {
        "claimed" => Standing::Claimed,
        "running" => Standing::Running,
        _ => return Err(Problem::Damaged),
    };
    Ok((vm, Ownership { owner, epoch: Epoch::new(epoch), standing }))
}

/// Whether the record was equal to `expected` and is `new` now.
fn replace(
    connection: &Connection,
    vm: VmName,
    expected: Ownership,
    new: Ownership,
) -> Result<bool, Problem> {
    let (owner, epoch, standing) = stored(&new)?;
    let (from, since, from_standing) = stored(&expected)?;
    let values = (vm.as_str(), owner, epoch, standing, from, since, from_standing);
    Ok(connection.execute(REPLACE, values)? == 1)
}

fn enter(connection: &Connection, vm: VmName, new: Ownership) -> Result<(), Problem> {
    let (owner, epoch, standing) = stored(&new)?;
    connection.execute(ENTER, (vm.as_str(), owner, epoch, standing))?;
    Ok(())
}

/// The record as the file holds it.
fn stored(record: &Ownership) -> Result<(&str, i64, &'static str), Problem> {
    let epoch = i64::try_from(record.epoch.get()).map_err(|_| Problem::Epoch(record.epoch))?;
    Ok((record.owner.as_str(), epoch, standing_word(record.standing)))
}
