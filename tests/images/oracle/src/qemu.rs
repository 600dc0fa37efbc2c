//! The image under QEMU.
//!
//! Source of truth: QEMU's manual page. Invariants: no network; the time is bounded. Deliberately
//! not here: what is compared.

use std::{path::Path, process::Command, time::Duration};

use oracle_sequences::{
    Unit,
    disk::{BLOCK_BYTES, BLOCK_COUNT},
};

use crate::{bounded, failure::Result, image::Image, transcript::Transcript};

const PROGRAM: &str = "qemu-system-s390x";
/// A run takes less than a second.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Runs the image and gives what it tells.
pub(crate) fn run(image: &Image, folder: &Path) -> Result<Transcript> {
    let number = Unit::Plain.device_number();
    let size = BLOCK_BYTES * BLOCK_COUNT;
    let mut command = Command::new(PROGRAM);
    command.args(["-M", "s390-ccw-virtio,accel=tcg", "-m", "8M", "-nographic", "-nodefaults"]);
    command.args(["-chardev", "stdio,id=console", "-device", "sclplmconsole,chardev=console"]);
    command.args(["-blockdev", &format!("driver=null-co,node-name=disk,size={size}")]);
    command.args(["-device", &format!("virtio-blk-ccw,drive=disk,devno=fe.0.{number:04x}")]);
    command.arg("-kernel").arg(&image.path);
    let said = bounded::run(&mut command, &folder.join("qemu.log"), ENDS_WITHIN)?;
    Transcript::of_console(PROGRAM, &said)
}
