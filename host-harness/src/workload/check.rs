//! The judgement from outside: does the guest still have everything that it has done?
//!
//! Source of truth: the file of each workload for what must hold. A guest that runs is judged
//! too: its registers are taken before and after the look at its storage, and what is found must
//! lie between; of a stopped guest both are equal and the judgement is exact.
//!
//! Invariant: looking leaves no trace, neither in keys nor in maps of changed pages.
//! Deliberately not here: whether two copies of storage are equal, which needs no guest.

use guest::sweep;
use monitor_core::{
    memory::PageRun,
    processor::ProcessorImage,
    units::{PageNumber, ProcessorIndex},
};

use super::{
    GuestPlan, Kind, hot_set, hot_set_processor, idle,
    ipl::{block_of, has_tasks, initial_image},
    journal::{self, JOURNAL_DISKS_MAX},
    key_value::{self, Slot},
    messages, network,
    nucleus::{Area, BlockName, Layout, PAGE, RANDOM_STEP, mix, register, word, word_address},
    system,
    verdict::{Fault, Verdict},
};
use crate::machine::{AddressFault, DiskWrite, LoggedDisk, Machine, Storage};

mod pages;
mod processors;

/// Judges the guest of `plan` in `machine`, stopped or running. `disks` are those that the guest's
/// journal is on; without them, the journal is judged by what is in the guest alone.
#[must_use]
pub fn check(machine: &Machine, plan: &GuestPlan, disks: &[&dyn LoggedDisk]) -> Verdict {
    let mut verdict = Verdict::default();
    if judge(machine, plan, disks, &mut verdict).is_err() || machine.fault().is_some() {
        verdict.fault(Fault::Unusable);
    }
    verdict
}

/// Whether a processor of the guest has left its work, so that it can be lost by a move.
#[must_use]
pub fn has_left(machine: &Machine, processor: ProcessorIndex) -> bool {
    let mark = View::new(&machine.storage).word(system::mark_of(processor.get()));
    mark.is_ok_and(|mark| mark != 0)
}

/// A look into storage that leaves no trace.
struct View<'a> {
    storage: &'a Storage,
    page: Option<u64>,
    bytes: Box<[u8; PAGE as usize]>,
}

impl<'a> View<'a> {
    fn new(storage: &'a Storage) -> Self {
        Self { storage, page: None, bytes: Box::new([0; PAGE as usize]) }
    }

    /// The page at `address`, as it was at the first look since the last `forget`.
    fn page(&mut self, address: u64) -> Result<&[u8; PAGE as usize], AddressFault> {
        let number = address / PAGE;
        if self.page != Some(number) {
            let page = PageNumber::new(number);
            let run = PageRun { group: page.group(), mask: 1 << (number % 64) };
            self.storage.copy_out(run, &mut self.bytes[..])?;
            self.page = Some(number);
        }
        Ok(&self.bytes)
    }

    fn word(&mut self, address: u64) -> Result<u64, AddressFault> {
        let offset = (address % PAGE) as usize;
        let page = self.page(address)?;
        page[offset..].first_chunk().map(|word| u64::from_be_bytes(*word)).ok_or(AddressFault)
    }

    fn words<const N: usize>(&mut self, address: u64) -> Result<[u64; N], AddressFault> {
        let mut words = [0; N];
        for (number, target) in (0..).zip(&mut words) {
            *target = self.word(address + 8 * number)?;
        }
        Ok(words)
    }

    /// A word of the control block of one of the journal's disks, as it is now.
    fn of_disk(&mut self, area: Area, disk: u64, number: u64) -> Result<u64, AddressFault> {
        self.page = None;
        self.word(journal::block_at(area.origin, disk) + 8 * number)
    }

    /// A word of a control block, as it is now.
    fn own(&mut self, name: BlockName, number: u64) -> Result<u64, AddressFault> {
        self.page = None;
        self.word(word_address(name, number))
    }
}

/// The numbers of the disks that the guest keeps journals on.
fn disk_numbers(plan: &GuestPlan) -> impl Iterator<Item = u64> + use<> {
    0..plan.journal.len().min(JOURNAL_DISKS_MAX) as u64
}

/// The registers and counters at one moment between two steps of each processor.
struct Snapshot {
    store: ProcessorImage,
    hot: ProcessorImage,
    puts: u64,
    gets: u64,
    /// Of each disk of the journal: records whose write was started, and has ended.
    records: Vec<[u64; 2]>,
}

fn registers(machine: &Machine, processor: u16) -> Result<ProcessorImage, AddressFault> {
    let mut image = ProcessorImage::initial();
    let index = ProcessorIndex::new(processor);
    machine.capture(index, &mut image).map_err(|_| AddressFault)?;
    Ok(image)
}

impl Snapshot {
    fn take(machine: &Machine, plan: &GuestPlan, journal: Area) -> Result<Self, AddressFault> {
        let mut view = View::new(&machine.storage);
        let hot = hot_set_processor(machine.processor_count());
        Ok(Self {
            store: registers(machine, 0)?,
            hot: registers(machine, hot)?,
            puts: view.own(BlockName::KeyValue, key_value::PUTS)?,
            gets: view.own(BlockName::KeyValue, key_value::GETS)?,
            records: disk_numbers(plan)
                .map(|disk| {
                    let mut word = |number| view.of_disk(journal, disk, number);
                    Ok([word(journal::STARTED)?, word(journal::WRITTEN)?])
                })
                .collect::<Result<_, _>>()?,
        })
    }
}

/// What the judgement of each workload needs.
struct Case<'a> {
    machine: &'a Machine,
    plan: &'a GuestPlan,
    /// The area of the journal.
    journal: Area,
    view: View<'a>,
    before: Snapshot,
    verdict: &'a mut Verdict,
}

/// Looks that are taken at something that the guest may be changing just now.
const LOOKS_MAX: u32 = 16;

impl Case<'_> {
    /// Registers and counters now.
    fn after(&self) -> Result<Snapshot, AddressFault> {
        Snapshot::take(self.machine, self.plan, self.journal)
    }

    /// Whether `holds` at some moment. Between two looks the processor ends its step.
    fn holds(
        &mut self,
        holds: impl Fn(&mut View<'_>) -> Result<bool, AddressFault>,
    ) -> Result<bool, AddressFault> {
        for _ in 0..LOOKS_MAX {
            if holds(&mut self.view)? {
                return Ok(true);
            }
            registers(self.machine, 0)?;
            self.view.page = None;
        }
        Ok(false)
    }

    /// Counts what the guest itself has found wrong.
    fn reported(&mut self, block: BlockName, number: u64, name: &'static str) -> Looked {
        let count = self.view.own(block, number)?;
        self.verdict.require(count == 0, Fault::Reported { name, count });
        Ok(())
    }
}

/// The end of a look: everything found is in the verdict.
type Looked = Result<(), AddressFault>;

fn judge(
    machine: &Machine,
    plan: &GuestPlan,
    disks: &[&dyn LoggedDisk],
    verdict: &mut Verdict,
) -> Looked {
    let layout = Layout::new(plan, machine.storage.page_count(), machine.processor_count())
        .map_err(|_| AddressFault)?;
    let before = Snapshot::take(machine, plan, layout.journal)?;
    let view = View::new(&machine.storage);
    let mut case = Case { machine, plan, journal: layout.journal, view, before, verdict };
    case.system(plan)?;
    for kind in &plan.kinds {
        if case.view.own(block_of(*kind), word::PRESENT)? != 1 {
            case.verdict.fault(Fault::WorkloadLost(*kind));
            continue;
        }
        match *kind {
            Kind::Idle => case.idle()?,
            Kind::HotSet { .. } => case.hot_set(layout.hot_set)?,
            Kind::Sweep { .. } | Kind::MemoryOnly { .. } => case.sweep(layout.sweep)?,
            Kind::Processors { interval_us } => case.processors(plan.seed, interval_us)?,
            Kind::KeyValue { slots, .. } => case.key_value(layout.key_value, slots.max(1))?,
            Kind::Journal { .. } => {
                let others = case.verdict.fault_count;
                case.journal(disks)?;
                case.verdict.journal_fault_count = case.verdict.fault_count - others;
            }
            Kind::Network => case.network(layout.network)?,
            Kind::Messages { .. } => case.messages()?,
            Kind::Keys { .. } => case.keys(layout.keys)?,
            Kind::PageStates { .. } => case.states(layout.states)?,
        }
    }
    Ok(())
}

impl Case<'_> {
    fn system(&mut self, plan: &GuestPlan) -> Looked {
        for (number, name) in [
            (system::STRAYS, "interruptions that nobody waited for"),
            (system::TIME_FAULTS, "steps back in time"),
        ] {
            self.reported(BlockName::System, number, name)?;
        }
        self.verdict.counts.io_faults += self.view.own(BlockName::System, system::IO_FAULTS)?;
        for processor in 0..self.machine.processor_count() {
            let image = registers(self.machine, processor)?;
            let right = initial_image(self.machine, plan, processor);
            self.registers(processor, plan, &image, &right);
        }
        Ok(())
    }

    fn registers(
        &mut self,
        processor: u16,
        plan: &GuestPlan,
        image: &ProcessorImage,
        right: &ProcessorImage,
    ) {
        let state = register::SWEEP_POSITION..=register::HOT_COUNT;
        let tasks = has_tasks(plan);
        let is_used = |n: &usize| state.contains(n) || tasks && super::processors::USED.contains(n);
        let others = |image: &ProcessorImage| {
            let kept = image.general.iter().zip(0..).filter(|(_, n)| !is_used(n));
            kept.map(|(value, _)| *value).collect::<Vec<_>>()
        };
        let random = |state: usize, count: usize| {
            let steps = image.general[count].wrapping_mul(RANDOM_STEP);
            image.general[state] == plan.seed.wrapping_add(steps)
        };
        for (name, holds) in [
            ("a general register", others(image) == others(right)),
            ("the store's random state", random(register::STORE_RANDOM, register::STORE_COUNT)),
            ("the hot set's random state", random(register::HOT_RANDOM, register::HOT_COUNT)),
            ("an access register", tasks || image.access == right.access),
            ("a control register", image.control == right.control),
            ("a vector register", tasks || image.vector == right.vector),
            (
                "the floating-point control",
                tasks || image.floating_control == right.floating_control,
            ),
            ("the prefix", image.prefix == right.prefix),
            ("the TOD programmable register", image.tod_programmable == right.tod_programmable),
            ("the program parameter", image.program_parameter == right.program_parameter),
            ("guarded storage", image.guarded_storage == right.guarded_storage),
            ("the etoken", image.etoken == right.etoken),
        ] {
            self.verdict.require(holds, Fault::Register { processor, name });
        }
    }

    fn idle(&mut self) -> Looked {
        let address = word_address(BlockName::Idle, idle::TICKS);
        let holds = self.holds(|view| {
            let [ticks, mark] = view.words(address)?;
            Ok(mark == mix(ticks))
        })?;
        self.verdict.require(holds, Fault::Ticks);
        self.verdict.counts.ticks = self.view.own(BlockName::Idle, idle::TICKS)?;
        Ok(())
    }

    fn hot_set(&mut self, window: Area) -> Looked {
        let mut sum: u64 = 0;
        for page in 0..window.pages {
            let address = hot_set::address(window.origin, page);
            let found = self.view.word(address)?;
            sum = sum.wrapping_add(found >> 32);
            let holds = found == hot_set::content(page, found >> 32);
            let number = PageNumber::new(address / PAGE);
            self.verdict.require(holds, Fault::HotSetPage(number));
        }
        let count = |snapshot: &Snapshot| snapshot.hot.general[register::HOT_COUNT];
        let after = self.after()?;
        self.verdict.within("dirtyings of the hot set", sum, count(&self.before), count(&after));
        self.verdict.counts.dirtyings = count(&after);
        self.reported(BlockName::HotSet, hot_set::FAULTS, "wrong pages met by the hot set")
    }

    fn sweep(&mut self, area: Area) -> Looked {
        let swept = |snapshot: &Snapshot, page: u64| {
            let general = &snapshot.store.general;
            let (position, rounds) =
                (general[register::SWEEP_POSITION], general[register::SWEEP_ROUNDS]);
            sweep::times(page, position, rounds)
        };
        let mut found = Vec::new();
        for page in 0..area.pages {
            let word = self.view.word(sweep::address(area.origin, page))?;
            found.push(sweep::counted(word));
        }
        let after = self.after()?;
        for (page, byte) in (0..).zip(found) {
            let (least, most) = (swept(&self.before, page), swept(&after, page));
            let ahead = byte.wrapping_sub(least.to_be_bytes()[7]);
            let number = PageNumber::new(area.origin / PAGE + page);
            let holds = u64::from(ahead) <= most.wrapping_sub(least);
            self.verdict.require(holds, Fault::SweepPage(number));
        }
        let general = &after.store.general;
        self.verdict.counts.swept = general[register::SWEEP_ROUNDS]
            .wrapping_mul(area.pages)
            .wrapping_add(general[register::SWEEP_POSITION]);
        Ok(())
    }

    fn key_value(&mut self, area: Area, slots: u64) -> Looked {
        let mut sum: u64 = 0;
        for index in 0..slots {
            let address = Slot::address(area.origin, index);
            let is_right = |view: &mut View<'_>| {
                Ok(Slot::from_words(view.words(address)?).is_right(index, slots))
            };
            let holds = self.holds(is_right)?;
            self.verdict.require(holds, Fault::Slot(index));
            sum = sum.wrapping_add(Slot::from_words(self.view.words(address)?).version);
        }
        let after = self.after()?;
        let (least, most) = (self.before.puts, after.puts);
        self.verdict.within("puts into the store", sum, least, most);
        let count = |snapshot: &Snapshot| snapshot.store.general[register::STORE_COUNT];
        let last = registers(self.machine, 0)?.general[register::STORE_COUNT];
        let (least, operations) = (count(&self.before), after.puts.wrapping_add(after.gets));
        self.verdict.within("operations of the store", operations, least, last);
        self.verdict.counts.puts = after.puts;
        self.verdict.counts.gets = after.gets;
        self.reported(BlockName::KeyValue, key_value::FAULTS, "broken slots met by the store")
    }

    fn network(&mut self, area: Area) -> Looked {
        for address in network::answered_addresses(area) {
            self.view.page = None;
            self.verdict.counts.answers += self.view.word(address)?;
        }
        self.verdict.counts.io_faults += self.view.own(BlockName::Network, network::IO_FAULTS)?;
        self.reported(BlockName::Network, network::FAULTS, "wrong frames on the lines")
    }

    fn messages(&mut self) -> Looked {
        self.verdict.counts.messages = self.view.own(BlockName::Messages, messages::LAST)?;
        self.verdict.counts.io_faults += self.view.own(BlockName::Messages, messages::IO_FAULTS)?;
        self.reported(BlockName::Messages, messages::FAULTS, "messages out of their order")
    }

    fn journal(&mut self, disks: &[&dyn LoggedDisk]) -> Looked {
        for disk in disk_numbers(self.plan) {
            let log = disks.get(disk as usize).map(|disk| disk.log());
            self.journal_on(disk, log.as_deref())?;
        }
        Ok(())
    }

    /// The journal on one disk, with what the disk has taken if that is known.
    fn journal_on(&mut self, disk: u64, log: Option<&[DiskWrite]>) -> Looked {
        let area = self.journal;
        let page = journal::record_out_at(area.origin, disk);
        let [started, written] = self.before.records[disk as usize];
        let holds = started == 0
            || self.holds(|view| {
                let number = journal::number_of(disk, view.page(page)?);
                Ok(number.is_some_and(|number| number >= started))
            })?;
        self.verdict.require(holds, Fault::Record);
        let mut last = 0;
        for entry in log.into_iter().flatten() {
            let found = entry.head.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
            let expected = last + 1;
            self.verdict.require(found == expected, Fault::JournalOrder { expected, found });
            last = found;
        }
        let [most, counted] = self.after()?.records[disk as usize];
        if log.is_some() {
            self.verdict.within("records on the disk", last, written, most);
        }
        self.verdict.counts.records += counted;
        let mut word = |number| self.view.of_disk(area, disk, number);
        let (read_back, io_faults) = (word(journal::READ_BACK)?, word(journal::IO_FAULTS)?);
        let (count, missed) = (word(journal::FAULTS)?, word(journal::MISSED)?);
        self.verdict.counts.read_back += read_back;
        self.verdict.counts.io_faults += io_faults;
        self.verdict.counts.io_missed += missed;
        let name = "wrong records read back";
        self.verdict.require(count == 0, Fault::Reported { name, count });
        Ok(())
    }
}
