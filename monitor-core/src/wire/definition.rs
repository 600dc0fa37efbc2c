//! Body of a DEFINITION frame: the VM's control block.
//!
//! Source of truth: PROTOCOL.md, "DEFINITION". Invariant: a definition that was parsed is a valid
//! control block, all its values within `limits`; its state carries no migration mark.

use super::error::{DecodeError, Fault, Field};
use super::field::{Reader, Writer};
use crate::{
    units::{PageCount, VmIndex},
    vm::{
        Activity, BlockError, FacilityList, Privileges, ProcessorSet, Processors, VmBlock, VmState,
    },
};

/// Writes `block`; gives the number of bytes, or `None` when there is not enough room.
#[must_use]
pub fn emit_definition(block: &VmBlock, target: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(target);
    writer.u8(block.index().get());
    writer.u8(block.state().activity().code());
    writer.u16(block.processor_count());
    writer.u16(block.cpu_quota_hundredths());
    writer.u16(block.cpu_limit_hundredths());
    writer.u16(block.privileges().bits());
    writer.u8(u8::from(block.state().is_diff()));
    writer.u8(0);
    writer.u32(block.migration_count());
    writer.u64(block.memory().get());
    writer.text(&block.name());
    writer.text(&block.group());
    writer.text(&block.initial_configuration());
    writer.u64(block.processors().detached().bits());
    writer.u64(block.processors().blocked().bits());
    block.facilities().words().into_iter().for_each(|word| writer.u64(word));
    writer.u64(block.cpu_id());
    writer.finish()
}

/// Reads a DEFINITION body.
///
/// # Errors
/// Names the field that is wrong.
pub fn parse_definition(body: &[u8]) -> Result<VmBlock, DecodeError> {
    let mut reader = Reader::new(body);
    let unknown = |field| DecodeError::new(Fault::Unknown, field);
    let range = |field| DecodeError::new(Fault::OutOfRange, field);
    let index = VmIndex::new(reader.u8(Field::VmIndex)?).ok_or(range(Field::VmIndex))?;
    let activity =
        Activity::from_code(reader.u8(Field::VmState)?).ok_or(unknown(Field::VmState))?;
    let count = reader.u16(Field::ProcessorCount)?;
    let quota = reader.u16(Field::Quota)?;
    let limit = reader.u16(Field::Limit)?;
    let privileges =
        Privileges::from_bits(reader.u16(Field::Privileges)?).ok_or(unknown(Field::Privileges))?;
    let diff = match reader.u8(Field::Diff)? {
        0 => false,
        1 => true,
        _ => return Err(unknown(Field::Diff)),
    };
    reader.reserved::<1>()?;
    let migrations = reader.u32(Field::MigrationCount)?;
    let memory = PageCount::new(reader.u64(Field::PageCount)?);
    let name = reader.text(Field::VmName)?;
    let group = reader.text(Field::GroupName)?;
    let configuration = reader.text(Field::Configuration)?;
    let detached = ProcessorSet::from_bits(reader.u64(Field::Detached)?);
    let blocked = ProcessorSet::from_bits(reader.u64(Field::Blocked)?);
    let mut facilities = [0; 4];
    for word in &mut facilities {
        *word = reader.u64(Field::Facilities)?;
    }
    let cpu_id = reader.u64(Field::CpuId)?;
    reader.finish()?;
    let state = VmState::new(activity).with_diff(diff);
    let block = VmBlock::new(index, name, memory, count).map_err(|error| range(field_of(error)))?;
    let processors =
        Processors::standing_so(count, detached, blocked).ok_or(range(Field::Blocked))?;
    block
        .with_processors(processors)
        .and_then(|block| block.with_cpu_quota_hundredths(quota))
        .and_then(|block| block.with_cpu_limit_hundredths(limit))
        .map_err(|error| range(field_of(error)))
        .map(|block| {
            block
                .with_privileges(privileges)
                .with_group(group)
                .with_initial_configuration(configuration)
                .with_migration_count(migrations)
                .with_facilities(FacilityList::new(facilities))
                .with_cpu_id(cpu_id)
                .with_state(state)
        })
}

/// The field that holds the attribute.
const fn field_of(error: BlockError) -> Field {
    match error {
        BlockError::Name => Field::VmName,
        BlockError::Memory => Field::PageCount,
        BlockError::Processors => Field::ProcessorCount,
        BlockError::Quota => Field::Quota,
        BlockError::Limit => Field::Limit,
    }
}
