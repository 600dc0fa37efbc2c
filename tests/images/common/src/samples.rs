//! The values of the golden frames, and the fields of which their bodies consist.
//!
//! Source of truth: PROTOCOL.md. Each frame is one of the move of VM12PROD from ABGSE501 to
//! ABGSE701. Invariant: a body has exactly the fields that are named here, in this order.
//! Deliberately not here: how the fields are encoded, which is the core's business.

use alloc::{boxed::Box, vec, vec::Vec};

use monitor_core::{
    channel::{DeviceStatus, Orb, Scsw, ScswControl, ScswFlags, SubchannelImage, SubchannelStatus},
    device::{Assignment, DeviceDescriptor, DeviceKind},
    memory::PageRun,
    processor::{CpuState, MachineCheck, ProcessorImage, Psw, TodEpoch},
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, GroupNumber, Incarnation, Micros, Mnemonic,
        PageCount, PoolName, ProcessorIndex, SuName, SubchannelNumber, VmIndex, VmName,
    },
    vm::{
        Activity, AdapterMasks, EventMasks, FacilityList, Findings, FloatingInterruptions,
        MachineImage, Measurement, Obstacle, Privileges, ProcessorSet, Processors, Reason, VmBlock,
        VmState,
    },
    wire::{Frame, Hello, LoadState, Status},
};

use crate::codec::Content;

/// The width of a field in bytes, and what it is.
pub type Layout = Vec<(usize, &'static str)>;

/// One golden frame.
#[derive(Debug)]
pub struct Sample {
    /// Its number in its direction.
    pub sequence: u64,
    /// What it says.
    pub content: Content,
    /// The fields of its body.
    pub layout: Layout,
}

const INCARNATION: Incarnation = Incarnation::new(0x00DF_1A2B_3C4D_5E6F);

/// The golden frames, in the order of the numbers of their types.
#[must_use]
pub fn samples() -> Vec<Sample> {
    let of = |sequence, content, layout| Sample { sequence, content, layout };
    let plain = |sequence, frame, layout: &[_]| of(sequence, Content::Plain(frame), layout.into());
    let incarnation: &[_] = &[(8, "incarnation")];
    let load_end = Frame::LoadEnd { processors: 2, subchannels: 12 };
    let aborted = Frame::Aborted { incarnation: INCARNATION, reason: Reason::BuildFailed };
    let status = Status { state: LoadState::Loaded, incarnation: INCARNATION, stored: 23 };
    let status = Frame::Status(status);
    let run = PageRun { group: GroupNumber::new(3), mask: 0b1011 };
    let keys = vec![0x16, 0x00, 0x38];
    let states = vec![0, 1, 3];
    let pages = [[0; 4096], [0xC1; 4096]].concat();
    vec![
        of(1, Content::Plain(hello()), hello_layout()),
        plain(9, Frame::Abort(Reason::Cancelled), &[(2, "reason 2: cancelled")]),
        plain(28, Frame::Resume, &[]),
        plain(
            10,
            status,
            &[(2, "state 3: loaded"), (2, "no reason"), (8, "incarnation"), (8, "stored up to")],
        ),
        of(2, Content::Definition(definition()), definition_layout()),
        of(3, Content::Device(DeviceSlot::new(0), device()), device_layout()),
        plain(15, Frame::Check(12), &[(2, "number of devices")]),
        plain(16, Frame::Build, &[]),
        of(
            17,
            Content::Pages { run, keys: keys.clone(), states: states.clone(), pages },
            pages_layout(true),
        ),
        of(18, Content::Keys { run, keys, states }, pages_layout(false)),
        plain(19, Frame::PassEnd(1), &[(2, "number of the pass")]),
        of(20, processor(), processor_layout()),
        of(21, subchannel(), subchannel_layout()),
        plain(22, Frame::RehearsalEnd(2), &[(2, "number of processors")]),
        plain(23, load_end, &[(2, "number of processors"), (2, "number of subchannels")]),
        plain(24, Frame::Recopy, &[]),
        of(30, machine(), machine_layout()),
        plain(25, Frame::Commit(INCARNATION), incarnation),
        plain(26, Frame::Released, &[]),
        of(2, Content::Findings(Box::new(findings())), findings_layout()),
        plain(3, Frame::Built(INCARNATION), incarnation),
        plain(4, Frame::Ack(17), &[(8, "number of the frame up to which all is stored")]),
        plain(5, Frame::Rehearsed(Micros::new(750)), &[(8, "microseconds")]),
        plain(6, Frame::Ready(INCARNATION), incarnation),
        plain(7, Frame::Running(INCARNATION), incarnation),
        plain(8, Frame::Completed, &[]),
        plain(9, aborted, &[(8, "incarnation"), (2, "reason 13: the VM could not be set up")]),
        of(27, Content::Skipped, Vec::new()),
    ]
}

fn hello() -> Frame {
    Frame::Hello(Hello {
        version_min: 1,
        version_max: 1,
        frame_bytes_max: 262_336,
        window: 64,
        pages: PageCount::new(0x1_0000),
        vm: VmName::new("VM12PROD").unwrap(),
        source: SuName::new("ABGSE501").unwrap(),
        target: SuName::new("ABGSE701").unwrap(),
    })
}

fn hello_layout() -> Layout {
    vec![
        (2, "oldest version"),
        (2, "newest version"),
        (4, "longest frame"),
        (4, "window"),
        (8, "pages"),
        (1, "length of the VM's name"),
        (8, "VM's name: VM12PROD"),
        (1, "length of the source's name"),
        (64, "source's name: ABGSE501"),
        (1, "length of the target's name"),
        (64, "target's name: ABGSE701"),
    ]
}

fn definition() -> VmBlock {
    let index = VmIndex::new(12).unwrap();
    VmBlock::new(index, VmName::new("VM12PROD").unwrap(), PageCount::new(0x1_0000), 4)
        .unwrap()
        .with_processors(
            Processors::standing_so(
                4,
                ProcessorSet::from_bits(0b0010),
                ProcessorSet::from_bits(0b1000),
            )
            .unwrap(),
        )
        .unwrap()
        .with_facilities(FacilityList::new([0xF3F6_0000_0000_0000, 1 << 63, 1 << 62, 0]))
        .with_cpu_id(0xFF00_0001_2827_0000)
        .with_cpu_quota_hundredths(1250)
        .unwrap()
        .with_cpu_limit_hundredths(7500)
        .unwrap()
        .with_privileges(Privileges::IO_PRIORITY | Privileges::ASSIGN_BY_GUEST)
        .with_group(PoolName::new("PROD").unwrap())
        .with_initial_configuration(ConfigurationName::new("390SU- 700-70").unwrap())
        .with_migration_count(3)
        .with_state(VmState::new(Activity::Running).with_diff(true))
}

fn definition_layout() -> Layout {
    vec![
        (1, "VM index"),
        (1, "activity 2: running"),
        (2, "number of processors"),
        (2, "CPU quota 12.50"),
        (2, "CPU limit 75.00 percent"),
        (2, "privileges: I/O priority, assignment by guest"),
        (1, "I/O configuration differs"),
        (1, "reserved"),
        (4, "number of migrations"),
        (8, "pages"),
        (1, "length of the VM's name"),
        (8, "VM's name: VM12PROD"),
        (1, "length of the group's name"),
        (8, "group's name: PROD"),
        (1, "length of the configuration"),
        (24, "configuration: 390SU- 700-70"),
        (8, "detached by the guest: processor 1"),
        (8, "blocked: processor 3"),
        (32, "facilities of the guest"),
        (8, "CPU identification"),
    ]
}

fn device() -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new("CS").unwrap(),
        number: DeviceNumber::new(0x9920),
        kind: DeviceKind::Disk,
        assignment: Assignment::SharedDevice,
        is_emulated: false,
        is_detached: false,
        base: None,
        subchannel: SubchannelNumber::new(0x0012),
        identity: u64::from_be_bytes(*b"\0\0PUB001"),
    }
}

fn device_layout() -> Layout {
    vec![
        (2, "slot"),
        (4, "mnemonic: CS"),
        (1, "kind 2: disk"),
        (1, "assignment 3: shared device"),
        (1, "flags"),
        (1, "reserved"),
        (2, "device number"),
        (2, "subchannel number"),
        (2, "device number of the base of an alias"),
        (2, "reserved"),
        (8, "identity: volume PUB001"),
    ]
}

fn pages_layout(with_pages: bool) -> Layout {
    let mut layout = vec![
        (8, "group: pages 192 to 255"),
        (8, "mask: pages 192, 193 and 195"),
        (1, "key of page 192"),
        (1, "key of page 193"),
        (1, "key of page 195"),
        (61, "keys of no page"),
        (1, "state of page 192: stable"),
        (1, "state of page 193: unused"),
        (1, "state of page 195: volatile"),
        (61, "states of no page"),
    ];
    if with_pages {
        layout.extend([(4096, "page 192"), (4096, "page 195")]);
    }
    layout
}

fn processor() -> Content {
    let mut image = ProcessorImage::initial();
    image.psw = Psw::new(0x0705_2001_8000_0000, 0x0000_0000_0012_3456);
    image.state = CpuState::Operating;
    image.general = core::array::from_fn(|n| 0x1111_1111_1111_1111 * n as u64);
    image.access[1] = 0x0001_0203;
    image.control[1] = 0x0000_0000_0ABC_D003;
    image.vector[0] = 0x4010_0000_0000_0000 << 64;
    image.vector[31] = 0x1F;
    image.floating_control = 0x0008_0000;
    image.prefix = 0x0000_8000;
    image.tod_programmable = 0x0000_1234;
    image.cpu_timer = -2;
    image.clock_comparator = 0xDF1A_2B3C_4D5E_6F70;
    image.breaking_event = 0x0000_0000_0012_3400;
    image.program_parameter = 0x8000_0000_0000_0001;
    image.tod_epoch = TodEpoch { index: -1, difference: 0xFFFF_FFFF_FF00_0000 };
    image.external_call = Some(1);
    image.emergency_signals = 0b10;
    image.malfunction_alerts = 0b100;
    image.machine_check = MachineCheck { code: 1 << 61, address: 0, damage: 0 };
    image.service_signal = Some(0x0000_8001);
    image.pfault_token = 0x0000_0001_2345_6780;
    image.pfault_select = 0x0001_0000_0000_0000;
    image.pfault_compare = 0x0001_0000_0000_0000;
    image.guarded_storage =
        [0, 0x0000_0002_0000_0019, 0x8000_0000_0000_0000, 0x0000_0000_0002_F000];
    image.runtime_instrumentation = core::array::from_fn(|n| 0xA0 ^ n as u8);
    image.execute_target = 0x0000_0000_0012_3460;
    image.prediction_blocked = true;
    image.etoken = [0x0102_0304_0506_0708, 0x090A_0B0C_0D0E_0F10];
    image.control_program = 0x0500_0000_0000_0001;
    Content::Processor { index: ProcessorIndex::new(0), rehearsal: true, image: Box::new(image) }
}

fn block(tag: &'static str, fields: &[(usize, &'static str)]) -> Layout {
    let head = [(2, tag), (2, "version of the block"), (4, "length of the block")];
    [&head, fields].concat()
}

fn processor_layout() -> Layout {
    let head = vec![(2, "processor"), (2, "rehearsal")];
    [head, mandatory_blocks().concat(), optional_blocks().concat()].concat()
}

fn mandatory_blocks() -> [Layout; 9] {
    [
        block(
            "tag: execution",
            &[(8, "PSW, mask"), (8, "PSW, address"), (1, "state 2: operating"), (1, "SIGP order")],
        ),
        block("tag: general registers", &[(128, "general registers 0 to 15")]),
        block("tag: access registers", &[(64, "access registers 0 to 15")]),
        block("tag: control registers", &[(128, "control registers 0 to 15")]),
        block("tag: vector registers", &[(512, "vector registers 0 to 31")]),
        block("tag: floating-point control", &[(4, "floating-point control register")]),
        block(
            "tag: clocks",
            &[
                (4, "prefix"),
                (4, "TOD programmable register"),
                (8, "CPU timer"),
                (8, "clock comparator"),
                (8, "breaking-event address"),
                (8, "program parameter"),
            ],
        ),
        block("tag: TOD", &[(1, "epoch index"), (8, "epoch difference")]),
        block(
            "tag: local interruptions",
            &[
                (1, "external call is pending"),
                (2, "its CPU address"),
                (8, "emergency signals"),
                (1, "restart is pending"),
            ],
        ),
    ]
}

fn optional_blocks() -> [Layout; 9] {
    [
        block("tag: service signal", &[(4, "parameter")]),
        block("tag: pfault", &[(8, "token"), (8, "select mask"), (8, "compare mask")]),
        block(
            "tag: guarded storage",
            &[(8, "reserved"), (8, "designation"), (8, "section mask"), (8, "parameter list")],
        ),
        block("tag: runtime instrumentation", &[(64, "controls")]),
        block("tag: execute target", &[(8, "address")]),
        block("tag: speculation", &[(1, "branch prediction is blocked"), (16, "etoken")]),
        block("tag: control program", &[(8, "what it said of itself")]),
        block("tag: malfunction alerts", &[(8, "CPU addresses")]),
        block("tag: machine check", &MACHINE_CHECK),
    ]
}

/// The fields of a machine check.
const MACHINE_CHECK: [(usize, &str); 3] =
    [(8, "interruption code"), (8, "failing-storage address"), (4, "external-damage code")];

fn machine() -> Content {
    let image = MachineImage {
        channel_subsystem_max: 0,
        subchannel_set_max: 3,
        reports: [0x4083_0012, 0x6083_0013].into_iter().collect(),
        measurement: Measurement { key: 3, modes: 2, origin: 0x0002_0000 },
        events: EventMasks { length: 4, receive: 0x8000_0004 << 32, send: 0x4000_0000 << 32 },
        adapters: AdapterMasks { single: 0x10, none: 0x08 },
        floating: FloatingInterruptions {
            adapters: 0x20,
            interrupt_key: true,
            reports_told: true,
            machine_check: MachineCheck { code: 1 << 58, address: 0, damage: 0x0200_0000 },
            page_faults: [0x0000_0000_0812_3000].into_iter().collect(),
            service_signals: [0x0000_8002].into_iter().collect(),
        },
        stopped_tod: 0xE123_4567_89AB_C000,
    };
    Content::Machine { rehearsal: false, image: Box::new(image) }
}

fn machine_layout() -> Layout {
    let subsystem = [(1, "highest channel subsystem"), (1, "highest subchannel set")];
    let reports = [(2, "number of reports"), (128, "channel report words")];
    let measurement = [(1, "key"), (1, "modes"), (8, "origin of the measurement blocks")];
    let events = [(2, "bytes of a mask"), (8, "receive mask"), (8, "send mask")];
    let adapters = [(1, "single interruptions"), (1, "no interruptions")];
    let pending = [(1, "subclasses of adapters"), (1, "interrupt key"), (1, "reports told")];
    let tokens = [(2, "number of page faults"), (64, "their tokens")];
    let signals = [(2, "number of service signals"), (32, "their parameters")];
    let floating = [&pending[..], &MACHINE_CHECK, &tokens, &signals].concat();
    let blocks = [
        block("tag: channel subsystem", &subsystem),
        block("tag: channel reports", &reports),
        block("tag: measurement", &measurement),
        block("tag: events", &events),
        block("tag: adapters", &adapters),
        block("tag: floating interruptions", &floating),
        block("tag: clock", &[(8, "clock of the SU at the stop")]),
    ];
    [vec![(2, "rehearsal")], blocks.concat()].concat()
}

fn subchannel() -> Content {
    let number = SubchannelNumber::new(0x0012);
    let mut image = SubchannelImage::idle(number, DeviceNumber::new(0x9920));
    image.schib.pmcw = image.schib.pmcw.with_enabled(true).with_interruption_subclass(3);
    image.schib.pmcw.interruption_parameter = 0x1122_3344;
    image.schib.scsw = Scsw {
        flags: ScswFlags::from_bits_retain(0x5080),
        control: ScswControl::START_FUNCTION
            | ScswControl::ALERT_STATUS
            | ScswControl::STATUS_PENDING,
        program_address: 0x0004_2008,
        device_status: DeviceStatus::CHANNEL_END | DeviceStatus::UNIT_CHECK,
        subchannel_status: SubchannelStatus::empty(),
        residual_count: 0x0777,
    };
    image.sense[0] = 0x80;
    image.orb = Some(Orb::of_program(0x0004_2000, 0x1122_3344).with_key(5));
    Content::Subchannel { slot: DeviceSlot::new(0), image: Box::new(image) }
}

fn subchannel_layout() -> Layout {
    let schib = [
        (28, "path-management-control word"),
        (12, "subchannel-status word"),
        (8, "measurement-block address"),
        (4, "model-dependent area"),
    ];
    let blocks = [
        block("tag: identity", &[(2, "subchannel number"), (2, "device number")]),
        block("tag: subchannel-information block", &schib),
        block("tag: sense", &[(32, "sense data")]),
        block("tag: operation-request block", &[(32, "operation-request block")]),
    ];
    [vec![(2, "slot")], blocks.concat()].concat()
}

fn findings() -> Findings {
    let mut findings = Findings::new();
    findings.add(Obstacle::MemoryShort);
    findings.add_device(Obstacle::DeviceMissing, Mnemonic::new("FAA4").unwrap());
    findings.set_unlisted(1);
    findings.set_surplus(ProcessorSet::from_bits(0b0100));
    findings
}

fn findings_layout() -> Layout {
    vec![
        (2, "number of findings listed"),
        (2, "number of findings not listed"),
        (8, "to be blocked: processor 2"),
        (2, "code 4011: memory"),
        (1, "length of the mnemonic"),
        (4, "no mnemonic"),
        (1, "reserved"),
        (2, "code 4034: device missing"),
        (1, "length of the mnemonic"),
        (4, "mnemonic: FAA4"),
        (1, "reserved"),
    ]
}
