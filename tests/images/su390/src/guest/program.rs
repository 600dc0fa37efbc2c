//! The guest program and its initial program loading.
//!
//! Source of truth: the ELF-64 specification (System V ABI), `interface` for the parameters.
//! Invariant: the processor begins at the entry when it is resumed, not before.
//! Deliberately not here: loading from a device.

use monitor_core::{
    ports::ErrorKind,
    processor::{CpuState, ProcessorImage, Psw},
    units::ConfigurationName,
};

use super::{Execution, Guest, interface as at, storage::Beyond};

/// The program, an ELF image whose addresses are those of guest storage.
static PROGRAM: &[u8] = include_bytes!(env!("GUEST390_IMAGE"));

/// A LAN line of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanLine<'a> {
    /// Its name; what is beyond 32 characters is cut off.
    pub name: &'a str,
    /// Whether it is a VLAN line.
    pub is_vlan: bool,
}

/// What the guest is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Pages that the sweep counts in a second; 0 means as many as it can.
    pub pages_per_second: u64,
    /// Timer interruptions (100 a second) between two console lines; 0 means no lines.
    pub line_interval: u64,
    /// The server configuration at the VM's creation.
    pub initial_configuration: ConfigurationName,
    /// LAN lines; what is beyond 32 is left out.
    pub lan_lines: &'a [LanLine<'a>],
}

impl Guest {
    /// Loads the guest program, or the memory-only workload, into the storage of a guest that was
    /// just created.
    ///
    /// # Errors
    /// Fails when there is no guest, or the program does not fit it.
    pub fn ipl(&mut self, parameters: &Parameters<'_>) -> Result<(), ErrorKind> {
        if self.execution == Execution::Emulated {
            let pace = parameters.pages_per_second;
            return self.load_workload(pace).map_err(|Beyond| ErrorKind::NoResource);
        }
        let least = at::SWEEP / 4096 + 1;
        if self.storage.page_count() < least {
            return Err(ErrorKind::NoResource);
        }
        self.preset_parameters(parameters).map_err(|Beyond| ErrorKind::NoResource)?;
        let entry = self.preset_program().ok_or(ErrorKind::Damaged)?;
        let mut image = ProcessorImage::initial();
        image.psw = Psw::new(0, entry).with_extended_addressing(true).with_basic_addressing(true);
        image.state = CpuState::Operating;
        image.clock_comparator = u64::MAX;
        self.restore(&image)
    }

    fn preset_parameters(&self, parameters: &Parameters<'_>) -> Result<(), Beyond> {
        let lines = parameters.lan_lines.get(..at::LAN_MAX).unwrap_or(parameters.lan_lines);
        for (address, value) in [
            (at::STORAGE_BYTES, self.page_count().bytes().get()),
            (at::PACE, parameters.pages_per_second),
            (at::LINE_INTERVAL, parameters.line_interval),
            (at::LAN_COUNT, lines.len() as u64),
        ] {
            self.storage.preset(address, &value.to_be_bytes())?;
        }
        let initial = parameters.initial_configuration;
        let name = padded::<{ at::CONFIGURATION_BYTES }>(initial.as_bytes());
        self.storage.preset(at::INITIAL_CONFIGURATION, &name)?;
        for (number, line) in (0..).zip(lines) {
            let entry = at::LAN_TABLE + number * at::LAN_BYTES as u64;
            let name = padded::<{ at::LAN_NAME_BYTES }>(line.name.as_bytes());
            self.storage.preset(entry, &name)?;
            let mark = [u8::from(line.is_vlan)];
            self.storage.preset(entry + at::LAN_NAME_BYTES as u64, &mark)?;
        }
        Ok(())
    }

    /// Loads the segments, and gives the entry; `None` when the image is not what it should be.
    fn preset_program(&self) -> Option<u64> {
        const LOAD: u32 = 1;
        let is_elf = PROGRAM.starts_with(b"\x7FELF\x02\x02");
        let entry = u64::from_be_bytes(field(24)?);
        let headers = usize::try_from(u64::from_be_bytes(field(32)?)).ok()?;
        let size = usize::from(u16::from_be_bytes(field(54)?));
        let count = usize::from(u16::from_be_bytes(field(56)?));
        for header in (0..count).map(|number| headers + number * size) {
            if u32::from_be_bytes(field(header)?) != LOAD {
                continue;
            }
            let number = |offset: usize| Some(u64::from_be_bytes(field(header + offset)?));
            let (offset, address) = (usize::try_from(number(8)?).ok()?, number(24)?);
            let length = usize::try_from(number(32)?).ok()?;
            let bytes = PROGRAM.get(offset..offset.checked_add(length)?)?;
            self.storage.preset(address, bytes).ok()?;
        }
        is_elf.then_some(entry)
    }
}

/// The bytes at an offset of the program's image.
fn field<const N: usize>(offset: usize) -> Option<[u8; N]> {
    PROGRAM.get(offset..)?.first_chunk().copied()
}

/// A text of `N` bytes, padded with blanks.
fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut bytes = [b' '; N];
    for (target, byte) in bytes.iter_mut().zip(text) {
        *target = *byte;
    }
    bytes
}
