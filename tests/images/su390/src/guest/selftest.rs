//! Self-test of the guest: it runs, is moved within the machine, and judges itself.
//!
//! For each kind of tracking the guest's pages are copied while it runs, then it is stopped, the
//! rest is copied, its processor is captured; storage and registers are wiped and loaded again
//! from the copy; and the guest goes on and judges itself.
//!
//! Source of truth: tests/images/expected holds what a good run prints. Invariant: nothing printed
//! depends on time, save lines that begin with `#`. Deliberately not here: the migration machines.

mod own_stores;

use core::{hint::black_box, sync::atomic::AtomicU64};

use monitor_core::{
    limits::PAGE_BYTES,
    memory::{DirtyBitmap, PageRun, Sweep},
    ports::ErrorKind,
    processor::ProcessorImage,
    units::{ConfigurationName, Micros, PageCount, Tick},
};

use super::{
    Execution, Guest, Hypercall, LanLine, Maps, Parameters, Ran, Tracking,
    interface::{CPU_TIMERS, SWEEP, SWEEP_OFFSET},
    request,
};
use crate::{
    arch::{clock, storage::Region},
    println,
};

/// Pages of the guest under test.
const PAGES: PageCount = PageCount::new(3072);
/// Pages that the guest program sweeps.
const AREA: u64 = PAGES.get() - SWEEP / PAGE_BYTES as u64;
/// Words of a map for them.
const WORDS: usize = match DirtyBitmap::words_needed(PAGES) {
    Some(words) => words,
    None => 0,
};
/// Rounds of copying while the guest runs.
const PASSES: u32 = 3;
/// Registers of the guest's sweep.
const POSITION: usize = 6;
const ROUNDS: usize = 7;
/// Pages a second of a guest that has a pace.
const PACE: u64 = 5000;
/// How much the clock of the machine is behind to which the guest is moved.
const BEHIND: Micros = Micros::from_millis(10_000);
/// How long the guest may take for anything it is asked for.
const PATIENCE: Micros = Micros::from_millis(20_000);

static PAGE_WORDS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static KEY_WORDS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Runs the test in the storage of the guest.
pub fn run(storage_bytes: usize) {
    let length = PAGES.bytes().get() as usize;
    let all = Region::guest(storage_bytes);
    let (Some(storage), Some(copy)) = (all.part(0, length), all.part(length, length)) else {
        println!("GUEST TEST NEEDS {} MIB OF GUEST STORAGE", (2 * length) >> 20);
        return;
    };
    for execution in [Execution::Native, Execution::Emulated] {
        for tracking in [Tracking::Keys, Tracking::Protection] {
            println!("GUEST TEST {execution:?} TRACKING {tracking:?}");
            let guest = Guest::new(storage, tracking, execution);
            if let Err(error) = Test::new(guest, copy).and_then(|mut test| test.run()) {
                println!("GUEST TEST FAILED: {error}");
            }
        }
    }
}

/// A guest and the place where its pages are copied to.
struct Test {
    guest: Guest,
    maps: Maps,
    copy: Region,
}

impl Test {
    fn new(guest: Guest, copy: Region) -> Result<Self, ErrorKind> {
        let map = |words| DirtyBitmap::try_new(words, PAGES).map_err(|_| ErrorKind::NoResource);
        let maps = Maps { pages: map(&PAGE_WORDS)?, keys: map(&KEY_WORDS)? };
        let mut test = Self { guest, maps, copy };
        test.load(0)?;
        Ok(test)
    }

    /// Creates a guest that sweeps so many pages in a second, or as many as it can.
    fn load(&mut self, pages_per_second: u64) -> Result<(), ErrorKind> {
        let begin = clock::now();
        self.guest.create(PAGES, self.maps)?;
        println!("# {PAGES} pages created in {} us", clock::now().since(begin).get());
        self.guest.set_configuration(name("390SU- 700-70"));
        self.guest.set_cpu_id(super::CPU_ID);
        self.guest.ipl(&Parameters {
            pages_per_second,
            line_interval: 0,
            initial_configuration: name("390SU- 700-70"),
            lan_lines: &[
                LanLine { name: "L#MANLO1", is_vlan: false },
                LanLine { name: "L1#DANPU", is_vlan: true },
            ],
        })
    }

    fn run(&mut self) -> Result<(), ErrorKind> {
        self.guest.resume();
        self.run_for(Micros::from_millis(50))?;
        if self.guest.execution == Execution::Native {
            self.measure()?;
        }
        self.ask(request::MOVE_COMING)?;
        self.copy_all()?;
        self.load_again()?;
        self.guest.set_configuration(name("390SU- 500-10B"));
        self.guest.resume();
        self.ask(request::MOVED)?;
        self.ask(request::NETWORK_UP)?;
        let (due, count) = (self.guest.state.clock_comparator, self.timers()?);
        self.run_for(Micros::from_millis(50))?;
        if self.guest.execution == Execution::Native {
            let goes_on = (self.guest.state.clock_comparator > due, self.timers()? > count);
            println!(
                "TIMERS {}",
                match goes_on {
                    (true, true) => "GO ON",
                    (true, false) => "OF THE PROCESSOR STAND",
                    (false, true) => "OF THE CLOCK STAND",
                    (false, false) => "STAND",
                }
            );
        }
        self.ask(request::END)?;
        self.guest.destroy();
        self.keep_pace()?;
        self.find_flaws()?;
        if self.guest.execution == Execution::Native { self.note_own_stores() } else { Ok(()) }
    }

    /// The guest's count of interruptions of the CPU timer.
    fn timers(&self) -> Result<u64, ErrorKind> {
        let mut count = [0; 8];
        let loaded = self.guest.storage.load_real(CPU_TIMERS, &mut count);
        loaded.map(|()| u64::from_be_bytes(count)).map_err(|_| ErrorKind::OutOfRange)
    }

    /// A guest that has a pace waits in between.
    fn keep_pace(&mut self) -> Result<(), ErrorKind> {
        println!("GUEST WITH A PACE");
        self.load(PACE)?;
        let begin = clock::now();
        self.guest.resume();
        self.run_for(Micros::from_millis(300))?;
        let swept = self.progress()?;
        let span = clock::now().since(begin).get();
        println!("# {swept} pages swept in {span} us");
        let is_kept = swept <= PACE * span / 1_000_000 + PACE / 10;
        println!("PACE {}", if is_kept { "KEPT" } else { "EXCEEDED" });
        self.ask(request::END)?;
        self.guest.destroy();
        Ok(())
    }

    /// The guest's judgement finds a page, a key and registers that a monitor has spoiled.
    fn find_flaws(&mut self) -> Result<(), ErrorKind> {
        println!("GUEST WITH FLAWS");
        self.load(1)?;
        self.guest.resume();
        self.ask(request::MOVE_ABANDONED)?;
        self.guest.stop();
        let (first, last) = (SWEEP / PAGE_BYTES as u64, PAGES.get() - 1);
        let mut bytes = [0; PAGE_BYTES];
        self.guest.copy_out(one(last), &mut bytes)?;
        bytes[SWEEP_OFFSET as usize] ^= 1;
        self.guest.copy_in(one(last), &bytes)?;
        self.guest.keys_in(one(first), &[0x90])?;
        let mut image = ProcessorImage::initial();
        self.guest.capture(&mut image);
        image.access[5] ^= 1;
        image.vector[3] ^= 1;
        image.vector[15] ^= 1 << 64;
        image.vector[16] ^= 1;
        image.floating_control ^= 0x10;
        if self.guest.execution == Execution::Native {
            self.offer_floating_control(&image);
        }
        self.guest.restore(&image)?;
        self.guest.resume();
        self.ask(request::END)?;
        self.guest.destroy();
        Ok(())
    }

    /// An image is refused whose floating-point control has a bit that is not assigned, or a
    /// rounding mode that does not exist.
    fn offer_floating_control(&mut self, image: &ProcessorImage) {
        let mut offered = image.clone();
        let mut takes = |control| {
            offered.floating_control = control;
            self.guest.restore(&offered).is_ok()
        };
        let bad = [1 << 3, 4, 5, 6, 1 << 7, 1 << 16, 2 << 16, 1 << 24, 2 << 24];
        let refused = bad.into_iter().filter(|control| !takes(*control)).count();
        let is_good = refused == bad.len() && [1, 2, 3, 0xF8F8_FF73].into_iter().all(takes);
        println!("FLOATING CONTROL {}", if is_good { "JUDGED" } else { "MISJUDGED" });
    }

    /// Copies everything while the guest runs, and the rest when it is stopped.
    fn copy_all(&mut self) -> Result<(), ErrorKind> {
        self.guest.start_tracking();
        self.maps.pages.mark_all();
        for _ in 0..PASSES {
            self.copy_marked(true)?;
            self.run_for(Micros::from_millis(12))?;
            self.guest.collect();
        }
        self.guest.stop();
        self.guest.collect();
        self.copy_marked(false)?;
        self.guest.stop_tracking();
        let differing = (0..PAGES.get()).filter(|page| !self.is_equal(*page)).count();
        println!("COPY {}", if differing == 0 { "EQUALS THE GUEST" } else { "DIFFERS" });
        println!("# {differing} pages differ");
        Ok(())
    }

    fn copy_marked(&mut self, guest_runs: bool) -> Result<(), ErrorKind> {
        let mut sweep = Sweep::new();
        while let Some(run) = self.maps.pages.take_next(&mut sweep) {
            for page in run.pages() {
                let mut bytes = [0; PAGE_BYTES];
                self.guest.copy_out(one(page.get()), &mut bytes)?;
                self.copy.copy_in(page.get() as usize * PAGE_BYTES, &bytes);
            }
            if guest_runs {
                self.run_for(Micros::new(300))?;
            }
        }
        Ok(())
    }

    fn is_equal(&mut self, page: u64) -> bool {
        let (mut own, mut copied) = ([0; PAGE_BYTES], [0; PAGE_BYTES]);
        let is_read = self.guest.copy_out(one(page), &mut own).is_ok();
        self.copy.copy_out(page as usize * PAGE_BYTES, &mut copied);
        is_read && own == copied
    }

    /// Wipes storage, keys and registers, and loads them from the copy, as if on a machine whose
    /// clock is behind.
    fn load_again(&mut self) -> Result<(), ErrorKind> {
        let (mut image, mut again) = (ProcessorImage::initial(), ProcessorImage::initial());
        self.guest.capture(&mut image);
        let mut keys = [0_u8; PAGES.get() as usize];
        for (page, key) in (0..).zip(&mut keys) {
            self.guest.keys_out(one(page), core::slice::from_mut(key))?;
        }

        self.guest.destroy();
        self.guest.create(PAGES, self.maps)?;
        let mut wiped = ProcessorImage::initial();
        wiped.general = [u64::MAX; 16];
        wiped.access = [u32::MAX; 16];
        wiped.vector = [u128::from(u64::MAX) << 64; 32];
        wiped.vector.iter_mut().skip(16).for_each(|value| *value = 0);
        self.guest.restore(&wiped)?;

        for (page, key) in (0..).zip(&keys) {
            let mut bytes = [0; PAGE_BYTES];
            self.copy.copy_out(page as usize * PAGE_BYTES, &mut bytes);
            self.guest.copy_in(one(page), &bytes)?;
            self.guest.keys_in(one(page), core::slice::from_ref(key))?;
        }
        let behind = BEHIND.get() * clock::UNITS_PER_US;
        image.tod_epoch.difference = image.tod_epoch.difference.wrapping_sub(behind);
        self.guest.restore(&image)?;
        self.guest.capture(&mut again);
        println!("PROCESSOR {}", if image == again { "LOADED EXACTLY" } else { "DIFFERS" });
        Ok(())
    }

    /// Asks something of the guest, and runs it to the answer or to its end.
    fn ask(&mut self, what: u32) -> Result<(), ErrorKind> {
        self.guest.post(what)?;
        self.run_to_call()
    }

    /// Runs the guest until it has answered or ended.
    fn run_to_call(&mut self) -> Result<(), ErrorKind> {
        let deadline = clock::now().after(PATIENCE);
        loop {
            match self.guest.run(deadline) {
                Ran::Called(Hypercall::Line(line)) => {
                    tell(&line);
                }
                Ran::Called(Hypercall::Input) => self.guest.give_input(&[]),
                Ran::Called(Hypercall::Answer(answer)) => {
                    println!("GUEST ANSWERS {answer:?}");
                    return Ok(());
                }
                Ran::Called(Hypercall::End { is_good }) => {
                    println!("GUEST ENDS, GOOD {is_good}");
                    return Ok(());
                }
                Ran::Interrupted => {}
                Ran::Waits(Some(moment)) => wait(moment.min(deadline)),
                Ran::SliceEnded => return Err(ErrorKind::TimedOut),
                Ran::Waits(None) | Ran::DisabledWait(_) | Ran::Stopped => {
                    return Err(ErrorKind::NotReady);
                }
            }
        }
    }

    /// Runs the guest, which says nothing meanwhile.
    fn run_for(&mut self, span: Micros) -> Result<(), ErrorKind> {
        let deadline = clock::now().after(span);
        loop {
            match self.guest.run(deadline) {
                Ran::SliceEnded => return Ok(()),
                Ran::Interrupted => {}
                Ran::Waits(moment) => wait(moment.unwrap_or(deadline).min(deadline)),
                Ran::Called(Hypercall::Line(line)) => tell(&line),
                Ran::Called(Hypercall::Input) => self.guest.give_input(&[]),
                other => {
                    println!("GUEST DOES NOT RUN: {other:?}");
                    return Err(ErrorKind::NotReady);
                }
            }
        }
    }

    /// Tells what passes cost in which the guest changes each page of its area.
    fn measure(&mut self) -> Result<(), ErrorKind> {
        self.round()?;
        let untracked = self.round()?;
        println!("# a round of the sweep without tracking takes {untracked} us");
        self.guest.start_tracking();
        self.maps.pages.clear_all();
        for pass in 1..=3 {
            let round = self.round()?;
            self.guest.collect();
            let begin = clock::now();
            let mut pages = 0;
            let mut sweep = Sweep::new();
            while let Some(run) = self.maps.pages.take_next(&mut sweep) {
                for page in run.pages() {
                    self.guest.copy_out(one(page.get()), black_box(&mut [0; PAGE_BYTES]))?;
                    pages += 1;
                }
            }
            let copied = clock::now().since(begin);
            println!("# pass {pass}: round {round} us, {pages} pages copied in {copied} us");
        }
        println!("# in all {:?}", self.guest.figures());
        self.guest.collect();
        let before = self.guest.figures().collect_us;
        self.guest.collect();
        let scan = self.guest.figures().collect_us - before;
        println!("# collecting nothing takes {scan} us");
        self.guest.stop_tracking();
        Ok(())
    }

    /// Runs the guest until it has changed every page of its area once; the time of that in
    /// microseconds.
    fn round(&mut self) -> Result<u64, ErrorKind> {
        let goal = self.progress()? + AREA;
        let start = clock::now();
        while self.progress()? < goal {
            self.run_for(Micros::new(50))?;
        }
        Ok(clock::now().since(start).get())
    }

    /// Pages that the sweep has counted in all, if its area is that of the guest program; its
    /// registers are seen only outside of handlers.
    fn progress(&mut self) -> Result<u64, ErrorKind> {
        let is_handler = |guest: &Guest| {
            guest.execution == Execution::Native && !guest.state.psw.problem_state()
        };
        while is_handler(&self.guest) {
            self.run_for(Micros::new(20))?;
        }
        let general = &self.guest.registers.general;
        Ok(general[ROUNDS] * AREA + general[POSITION])
    }
}

/// A wait to this moment.
fn wait(moment: Tick) {
    clock::wait_until(Some(moment));
}

/// The name of a server configuration.
fn name(text: &str) -> ConfigurationName {
    ConfigurationName::new(text).unwrap_or(ConfigurationName::EMPTY)
}

/// The run of one page.
fn one(page: u64) -> PageRun {
    let number = monitor_core::units::PageNumber::new(page);
    PageRun { group: number.group(), mask: 1 << (page % 64) }
}

/// Prints a line of the guest; numbers that depend on time go behind `#`.
fn tell(line: &str) {
    match line.split_once(" ROUNDS=") {
        Some((text, numbers)) => {
            println!("GUEST SAYS {text}");
            println!("# ROUNDS={numbers}");
        }
        None => println!("GUEST SAYS {line}"),
    }
}
