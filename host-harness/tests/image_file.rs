//! Disks in image files: what the guest has written is in the file after a move, a later start
//! goes on with it, and an earlier one is refused.
//!
//! Source of truth: ARCHITECTURE.md, "Devices"; `example.toml`. Invariant: every file is in a
//! folder of the test. Deliberately not here: what a disk does with its image, tested at the disks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use host_harness::{
    cluster::{Cluster, ConsoleHub},
    config::{Config, Device, EXAMPLE, Overrides, WorkloadName},
    console::{ConsoleName, Verified},
    machine::{
        Access, Buffer, Device as _, DiskFormat, DiskWrite, FbaDisk, Outcome, Path as ChannelPath,
    },
    sim::{Scenario, World},
    workload::{IplError, JOURNAL_BLOCKS, JOURNAL_CYLINDERS},
};
use monitor_core::units::{Epoch, PageCount, VmName};

const RESERVE: u8 = 0xB4;
const READ_DEVICE_CHARACTERISTICS: u8 = 0x64;
/// Records of the journal on a track.
const TRACK_RECORDS: u64 = 12;

#[derive(Debug)]
struct Nobody;

impl ConsoleHub for Nobody {
    fn line(&self, _console: ConsoleName, _text: &str) {}
}

/// A small guest that keeps a journal, with each disk in a file of the folder.
fn config(folder: &Path) -> Config {
    let memory = Some(PageCount::new(2048));
    let run = Some(vec![WorkloadName::Idle, WorkloadName::Journal]);
    let overrides = Overrides { memory, run, ..Overrides::default() };
    let mut config = Config::load(None, &overrides).expect("the example is right");
    for device in &mut config.vm.devices {
        if device.takes_journal() {
            device.image = Some(image(folder, device));
        }
    }
    config
}

fn image(folder: &Path, device: &Device) -> PathBuf {
    folder.join(device.mnemonic.as_str())
}

/// Whether the file has this write.
fn has(file: &[u8], write: &DiskWrite) -> bool {
    let at = FbaDisk::BLOCK_BYTES * usize::try_from(write.block).expect("a small disk");
    file[at..].starts_with(&write.head)
}

/// Whether an image in tracks has this record where the journal has its place.
fn has_record(file: &[u8], number: u64, write: &DiskWrite) -> bool {
    let (track, record) = (number / TRACK_RECORDS, number % TRACK_RECORDS + 1);
    // Home address and record zero come first.
    let at = 512 + track * 56_832 + 21 + (record - 1) * (8 + 4096);
    let mut expected = vec![0, 0, 0, 0, 0, 0, 0x10, 0];
    expected[..4].copy_from_slice(&[0, (track / 15) as u8, 0, (track % 15) as u8]);
    expected[4] = record as u8;
    expected.extend(write.head);
    let there = usize::try_from(at).ok().and_then(|at| file.get(at..));
    u64::from(write.block) == track && there.is_some_and(|there| there.starts_with(&expected))
}

#[test]
fn journal_of_a_guest_that_moves_is_in_the_file_from_both_sus() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let mut world = World::new(&config).expect("the guest fits its VM");
    world.run(400);
    let target = config.only_target().expect("two SUs");
    let course = world.attempt(target, &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    world.run(400);
    // The example's shared device comes first among the disks of the journal.
    let log = world.cluster().journal_disks()[0].log();
    let device = config.vm.devices.last().expect("the example has devices");
    let file = fs::read(image(folder.path(), device)).expect("the image is there");
    assert_eq!(file.len(), FbaDisk::BLOCK_BYTES * 32_768);
    assert_eq!(JOURNAL_BLOCKS, 32_768);
    for epoch in [1, 2].map(Epoch::new) {
        let mut writes = log.iter().filter(|write| write.epoch == epoch).peekable();
        assert!(writes.peek().is_some(), "nothing was written under {epoch}");
        assert!(writes.all(|write| has(&file, write)));
    }
    // The image outlives the world, and so does what it knows of the VM.
    let again = World::new(&config).map(|_| ());
    assert_eq!(again.unwrap_err(), IplError::Fenced);
}

#[test]
fn disk_in_tracks_moves_with_the_guest() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path());
    config.vm.devices[5].format = Some(DiskFormat::Ckd);
    let mut world = World::new(&config).expect("the guest fits its VM");
    world.run(400);
    let target = config.only_target().expect("two SUs");
    for su in [target, config.vm.on] {
        let course = world.attempt(su, &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
        world.run(400);
    }
    for su in [config.vm.on, target] {
        let disk = world.cluster().attached_devices(&su).remove(5).device;
        assert_eq!(disk.sense_id().device_type, 0x3390);
    }
    let file = image(folder.path(), &config.vm.devices[5]);
    assert_eq!(DiskFormat::Ckd.size_in_file(&file), Ok(Some(JOURNAL_CYLINDERS.into())));
    let (log, file) = (world.cluster().journal_disks()[1].log(), fs::read(file).expect("it is"));
    for epoch in [1, 2, 3].map(Epoch::new) {
        assert!(log.iter().any(|write| write.epoch == epoch), "nothing written under {epoch}");
    }
    for (number, write) in (1_u64..).zip(&log) {
        assert_eq!(write.head[..8], number.to_be_bytes(), "a record was lost or doubled");
        assert!(has_record(&file, number, write), "record {number} is not on its track");
    }
}

#[test]
fn vm_that_is_started_anew_has_no_reservation_of_its_earlier_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path());
    let file = image(folder.path(), &config.vm.devices[5]);
    let disk = FbaDisk::in_file(&file, JOURNAL_BLOCKS).expect("a disk");
    let access = |vm, epoch, system| {
        let vm = VmName::new(vm).expect("a short name");
        Access::new(vm, Epoch::new(epoch), ChannelPath { system, channel: 0 })
    };
    let does = |vm, epoch, system, command| {
        disk.execute(&mut access(vm, epoch, system), command, &mut Buffer::input(32))
    };
    for system in [0, 1] {
        let epoch = 2 + u64::from(system);
        assert_ne!(does("VM12PROD", epoch, system, RESERVE), Outcome::Pending);
        assert_eq!(does("VM99", 1, 1, READ_DEVICE_CHARACTERISTICS), Outcome::Pending);
        let hub: Arc<dyn ConsoleHub> = Arc::new(Nobody);
        let cluster = Cluster::without_record(&config, &hub, Epoch::new(epoch + 1));
        let cluster = cluster.expect("the files are images");
        cluster.create_vm(&config).expect("the guest fits its VM");
        assert_ne!(does("VM99", 1, 1, READ_DEVICE_CHARACTERISTICS), Outcome::Pending);
    }
}

#[test]
fn second_run_goes_on_with_the_image_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let last = "assignment = \"sd\"\n";
    let text = EXAMPLE.replacen(last, &format!("{last}image = \"faa5.img\"\n"), 1);
    let begins_on = |su: &str| {
        let text = text.replacen("on = \"ABGSE501\"", &format!("on = \"{su}\""), 1);
        fs::write(folder.path().join("my.toml"), text).expect("a file");
    };
    begins_on("ABGSE501");
    let run = |options: &str| {
        let line = "migrate --config my.toml --workload idle,journal --color never";
        let mut command = Command::new(env!("CARGO_BIN_EXE_su390"));
        command.current_dir(folder.path()).args(line.split(' ')).args(options.split_whitespace());
        let output = command.output().expect("su390 runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (status, said) = run("");
    assert!(said.contains("vm.device.image: faa5.img needs a directory"), "{said}");
    assert_eq!(status, Some(2));
    for su in ["ABGSE501", "ABGSE701"] {
        begins_on(su);
        let (status, said) = run("--memory 16MiB --directory cluster.db");
        assert_eq!(status, Some(0), "{said}");
        let file = fs::read(folder.path().join("faa5.img")).expect("the image is there");
        assert!(file.iter().any(|byte| *byte != 0));
    }
}
