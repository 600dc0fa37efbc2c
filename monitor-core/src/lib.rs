//! Live migration for monitors of /390 virtual machines, in static memory.
//!
//! A hypervisor monitor links this library to move a running virtual machine (VM) from one
//! server unit (SU) to another. The library has no allocator, no clock, no I/O and no `unsafe`;
//! it reaches hardware only through the traits of [`ports`], and the memory it works in is lent
//! by the caller.
//!
//! Source of truth: the VM2000 manual (commands, messages, VM states), the z/Architecture
//! Principles of Operation (registers, storage keys, channel subsystem) and this project's
//! `PROTOCOL.md` (wire format).
//!
//! # Layers
//!
//! | layer | modules | may use |
//! | --- | --- | --- |
//! | 0 | [`units`], [`limits`], `fmt` | nothing of ours |
//! | 1 | [`ports`], [`vm`], [`memory`], [`processor`], [`channel`], [`device`], [`wire`], [`message`] | layer 0, and value types of layer 1 |
//! | 2 | [`migrate`] | layers 0 and 1 except `ports` |
//! | 3 | [`driver`] | all |
//!
//! # Invariants
//!
//! 1. A copy of a VM runs only while the ownership record equals its SU and its epoch, exactly.
//! 2. A bit in a [`memory::DirtyBitmap`] means: the target does not have this page as it is now.
//! 3. Nothing received decides an index, a loop bound or a size before it is held against
//!    [`limits`].
//! 4. Work per call is bounded, and no call panics.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::unwrap_in_result,
        clippy::panic,
        clippy::panic_in_result_fn,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::string_slice,
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        clippy::cast_lossless,
        clippy::wildcard_enum_match_arm,
        clippy::match_wildcard_for_single_variants,
        clippy::large_stack_arrays,
        clippy::large_types_passed_by_value,
        clippy::large_enum_variant,
        clippy::result_large_err,
        clippy::std_instead_of_core,
        clippy::std_instead_of_alloc,
        clippy::alloc_instead_of_core,
        clippy::float_arithmetic,
        clippy::host_endian_bytes,
        clippy::little_endian_bytes,
        clippy::let_underscore_must_use,
        clippy::unused_result_ok,
        clippy::missing_errors_doc,
        clippy::missing_panics_doc,
        clippy::infinite_loop,
        clippy::mem_forget,
        clippy::shadow_unrelated,
        clippy::partial_pub_fields,
        clippy::rest_pat_in_fully_bound_structs,
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        clippy::incompatible_msrv
    )
)]

#[cfg(test)]
extern crate std;

mod fmt;

pub mod channel;
pub mod device;
pub mod driver;
pub mod limits;
pub mod memory;
pub mod message;
pub mod migrate;
pub mod ports;
pub mod processor;
pub mod units;
pub mod vm;
pub mod wire;
