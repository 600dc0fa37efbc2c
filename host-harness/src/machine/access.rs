//! Storage access under an access key, and storage as one processor addresses it.
//!
//! A channel accesses absolute storage under the key of its ORB. A processor accesses it under the
//! key of its PSW, behind prefixing, and with low-address protection where control register 0
//! turns that on.
//!
//! Source of truth: Principles of Operation, chapter "Storage" (prefixing, protection).
//!
//! Invariant: an access is checked as a whole before any part of it is done, so that one that is
//! refused changes neither storage nor a key. Deliberately not here: translation.

use super::{
    AddressFault, Storage,
    exception::{Exception, Protection, Use},
};
use monitor_core::{limits::PAGE_BYTES, processor::ProcessorImage, units::PageNumber};
use std::{fmt, ops::Range};

/// Bytes of the prefix area, and of what it is exchanged with.
const PREFIX_AREA_BYTES: u64 = 8192;

/// Fetch-protection bit of a storage key.
const FETCH_PROTECTION: u8 = 0x08;

/// Low-address protection, in control register 0.
const LOW_ADDRESS_PROTECTION: u64 = 0x1000_0000;

/// Why storage cannot be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessException {
    /// A byte lies outside of storage, or in a page whose content was dropped.
    Addressing,
    /// The access key does not match the storage key of a page.
    Protection,
}

impl fmt::Display for AccessException {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Addressing => "address outside of guest storage",
            Self::Protection => "key does not match",
        })
    }
}

impl std::error::Error for AccessException {}

impl From<AddressFault> for AccessException {
    fn from(_: AddressFault) -> Self {
        Self::Addressing
    }
}

/// Whether a page with this storage key may be used under `access_key`, 0 to 15.
#[must_use]
pub const fn key_permits(storage_key: u8, access_key: u8, access: Use) -> bool {
    let matches = access_key == 0 || storage_key >> 4 == access_key;
    matches || matches!(access, Use::Fetch) && storage_key & FETCH_PROTECTION == 0
}

impl Storage {
    /// Loads bytes of absolute storage under an access key.
    ///
    /// # Errors
    /// Fails outside of storage and when a page is protected; `target` is then unchanged.
    pub fn load_keyed(
        &self,
        address: u64,
        target: &mut [u8],
        access_key: u8,
    ) -> Result<(), AccessException> {
        self.check_keys(address, target.len(), access_key, Use::Fetch)?;
        Ok(self.load_bytes(address, target)?)
    }

    /// Stores bytes into absolute storage under an access key.
    ///
    /// # Errors
    /// Fails outside of storage and when a page is protected; nothing is stored then.
    pub fn store_keyed(
        &self,
        address: u64,
        source: &[u8],
        access_key: u8,
    ) -> Result<(), AccessException> {
        self.check_keys(address, source.len(), access_key, Use::Store)?;
        Ok(self.store_bytes(address, source)?)
    }

    fn check_keys(
        &self,
        address: u64,
        length: usize,
        access_key: u8,
        access: Use,
    ) -> Result<(), AccessException> {
        let bytes = PAGE_BYTES as u64;
        let end = address.checked_add(length as u64).ok_or(AccessException::Addressing)?;
        if end > self.page_count().bytes().get() {
            return Err(AccessException::Addressing);
        }
        // A channel cannot reach what is not there; a processor has an exception of its own.
        if (address / bytes..end.div_ceil(bytes)).any(|page| self.is_discarded(page * bytes)) {
            return Err(AccessException::Addressing);
        }
        let protected = |page| !key_permits(self.key(PageNumber::new(page)), access_key, access);
        if access_key != 0 && (address / bytes..end.div_ceil(bytes)).any(protected) {
            return Err(AccessException::Protection);
        }
        Ok(())
    }
}

/// Storage as one processor addresses it at one moment.
#[derive(Clone, Copy, Debug)]
pub struct RealStorage<'a> {
    storage: &'a Storage,
    prefix: u64,
    access_key: u8,
    protects_low_addresses: bool,
}

impl<'a> RealStorage<'a> {
    /// Storage as a processor with these registers addresses it.
    #[inline]
    #[must_use]
    pub fn new(storage: &'a Storage, state: &ProcessorImage) -> Self {
        Self {
            storage,
            prefix: u64::from(state.prefix),
            access_key: state.psw.key(),
            protects_low_addresses: state.control[0] & LOW_ADDRESS_PROTECTION != 0,
        }
    }

    /// The absolute address of a real one.
    #[inline]
    #[must_use]
    pub const fn absolute(&self, address: u64) -> u64 {
        let block = address & !(PREFIX_AREA_BYTES - 1);
        if block == 0 {
            address | self.prefix
        } else if block == self.prefix {
            address & (PREFIX_AREA_BYTES - 1)
        } else {
            address
        }
    }

    /// Loads the doubleword at `address`.
    ///
    /// # Errors
    /// Fails with the exception that the processor meets.
    #[inline]
    pub fn load(&self, address: u64) -> Result<u64, Exception> {
        let absolute = self.checked(address, Use::Fetch)?;
        Ok(self.storage.load(absolute)?)
    }

    /// Stores the doubleword at `address`.
    ///
    /// # Errors
    /// Fails with the exception that the processor meets.
    #[inline]
    pub fn store(&self, address: u64, value: u64) -> Result<(), Exception> {
        let absolute = self.checked(address, Use::Store)?;
        Ok(self.storage.store(absolute, value)?)
    }

    /// Loads bytes.
    ///
    /// # Errors
    /// Fails with the exception that the processor meets; `target` is then unchanged.
    pub fn load_bytes(&self, address: u64, target: &mut [u8]) -> Result<(), Exception> {
        self.check(address, target.len(), Use::Fetch)?;
        for (address, part) in pages(address, target.len()) {
            self.storage.load_bytes(self.absolute(address), &mut target[part])?;
        }
        Ok(())
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// Fails with the exception that the processor meets; nothing is stored then.
    pub fn store_bytes(&self, address: u64, source: &[u8]) -> Result<(), Exception> {
        self.check(address, source.len(), Use::Store)?;
        for (address, part) in pages(address, source.len()) {
            self.storage.store_bytes(self.absolute(address), &source[part])?;
        }
        Ok(())
    }

    fn check(&self, address: u64, length: usize, access: Use) -> Result<(), Exception> {
        let length_needed = u64::try_from(length).map_err(|_| Exception::Addressing)?;
        address.checked_add(length_needed).ok_or(Exception::Addressing)?;
        for (address, part) in pages(address, length) {
            // Low-address protection covers the begin of a page, so that the first byte tells.
            let absolute = self.checked(address, access)?;
            let end = absolute.checked_add(part.len() as u64).ok_or(Exception::Addressing)?;
            if end > self.storage.page_count().bytes().get() {
                return Err(Exception::Addressing);
            }
        }
        Ok(())
    }

    /// The absolute address of a byte that may be used.
    #[inline]
    fn checked(&self, address: u64, access: Use) -> Result<u64, Exception> {
        if self.protects_low_addresses && matches!(access, Use::Store) && is_low(address) {
            let cause = Protection::LowAddress;
            return Err(Exception::Protection { address, access, cause });
        }
        let absolute = self.absolute(address);
        if self.access_key != 0 {
            self.check_key(address, absolute, access)?;
        }
        if self.storage.is_discarded(absolute) {
            return Err(Exception::BlockVolatility);
        }
        Ok(absolute)
    }

    #[cold]
    fn check_key(&self, address: u64, absolute: u64, access: Use) -> Result<(), Exception> {
        let page = absolute / PAGE_BYTES as u64;
        if page >= self.storage.page_count().get() {
            return Err(Exception::Addressing);
        }
        let key = self.storage.key(PageNumber::new(page));
        let cause = Protection::Key;
        let permits = key_permits(key, self.access_key, access);
        permits.then_some(()).ok_or(Exception::Protection { address, access, cause })
    }
}

/// Whether low-address protection covers an address: the first 512 bytes of the first two pages.
const fn is_low(address: u64) -> bool {
    address & !0x11FF == 0
}

/// The parts of an access that lie in one page each.
fn pages(address: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let address = address.wrapping_add(done as u64);
        let room = PAGE_BYTES - (address % PAGE_BYTES as u64) as usize;
        let part = done..length.min(done + room);
        done = part.end;
        (!part.is_empty()).then_some((address, part))
    })
}
