//! The arguments of `su390` and their help.
//!
//! Source of truth: this file is the reference of the command line. Invariants: every option has
//! a key in the configuration, or says where output goes or what befalls one run; values are read
//! by [`crate::config::FromText`], as in the file. Deliberately not here: defaults, which the
//! configuration has.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    thread,
    time::Duration,
};

use anstream::ColorChoice;
use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use monitor_core::{
    units::{Epoch, Micros, PageCount, SuName, VmName},
    vm::Ownership,
};

use crate::{
    cluster::EPOCH_MAX,
    config::{
        Bandwidth, Choice, Coordination, Decision, FaultPoint, FromText, LinkKind, MoveCommand,
        Overrides, Trial, VmSelector, WorkloadName, choices, from_text,
    },
    live::{Deed, Endpoint, Mishap},
    machine::Fill,
    sim::swarm::Profile,
    workload::{Manner, Rate},
};

choices! {
    ColorChoice {
        "auto" => Self::Auto,
        "always" => Self::Always,
        "never" => Self::Never,
    }
}

/// Runs emulated /390 server units (SU) on this machine and moves running virtual machines (VM)
/// between them.
#[derive(Debug, Parser)]
#[command(name = "su390", version, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What `su390` can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Move a running VM from its SU to another one, and verify that nothing was lost.
    #[command(after_help = AFTER_MIGRATE)]
    Migrate(Box<MigrateCommand>),
    /// Show, mend or serve a directory file, which says which SU owns which VM.
    #[command(subcommand, disable_help_subcommand = true)]
    Directory(DirectoryCommand),
    /// Run one SU alone; the other one is another process or another machine.
    #[command(after_help = AFTER_SU)]
    Su(Box<SuCommand>),
    /// Run simulated worlds full of faults, one for each seed, and look for what may not be.
    #[command(after_help = AFTER_SWEEP)]
    Sweep(SweepCommand),
    /// Run the simulated world of one seed and show what happens in it.
    Replay(ReplayCommand),
}

/// The end of the help of `su390 migrate`.
const AFTER_MIGRATE: &str = "\
Without a configuration file, two SUs named ABGSE501 and ABGSE701 are set up, with VM 12, named
VM12PROD, running on the first: 1 GiB of memory, 2 processors, 8 devices. While it runs, the
consoles of both SUs' monitors and of the guest are shown, each line with its label. At the end
an independent comparison says whether memory, registers, devices and I/O survived the move.

Examples:
  su390 migrate
      Move the built-in VM, in a few seconds.
  su390 migrate --memory 4GiB --workload hot-set --link-bandwidth 10Gbit
      Move a larger VM over a slower link.
  su390 migrate --guest refuse
      See what happens when the guest does not want to be moved.
  su390 migrate --config my.toml --vm VM12PROD --to ABGSE701 --out run --json run/report.json
      Move a VM of your own configuration; keep the consoles and a report for programs.
  su390 migrate --fault lose-target@start --decide target-lost
      Lose the target at the worst moment, and take the VM back.

Faults:
  cut-link        the connection is cut once; both ends connect again
  sever-link      the connection is cut for good
  gone-directory  the cluster directory cannot be reached any more
  slow-directory  the cluster directory cannot be reached for 2 s
  lost-answer     the directory does what it is asked next, and its answer is lost
  restart-source  the source's monitor is restarted; it reads its journal
  restart-target  the target's monitor is restarted; it reads its journal
  lose-source     the source SU is gone for good, with all that was on it
  lose-target     the target SU is gone for good, with all that was on it
  cancel          the operator cancels the move

Moments:
  check           the source has read the ownership record and has not heard the answer
  setup           the target has set up the VM and is about to say BUILT
  precopy         half of the memory was sent
  stop            the guest is stopped and everything was sent; LOAD-END is about to be
  ready           the target has everything and is about to say READY
  commit          the source is about to send COMMIT
  claim           the target has claimed the record and has not heard the answer
  start           the target has entered in the record that it runs the VM, and has not heard
                  the answer
  running         the guest runs on the target, which is about to say RUNNING
  release         the target is about to say COMPLETED

Exit status:
  0  the move completed, and everything was verified
  1  the move completed, but the verification failed
  2  the command or the configuration is wrong, or output cannot be written
  3  the check rejected the move; nothing was begun
  4  the move was ended and undone; the guest is on the source
  5  in doubt: the guest is held until it is certain which side may run it
  6  the guest was lost with the SU that had it";

/// Options of `su390 migrate`.
#[derive(Debug, Args)]
pub(super) struct MigrateCommand {
    /// Configuration file (TOML); without it, the built-in example is used
    #[arg(long, value_name = "FILE", help_heading = "What to move")]
    pub(super) config: Option<PathBuf>,

    /// VM to move, by index or name; without it, the configured one
    #[arg(long, value_name = "INDEX|NAME", value_parser = from_text::<VmSelector>,
        help_heading = "What to move")]
    pub(super) vm: Option<VmSelector>,

    /// SU to move it to; without it, the only other one
    #[arg(long, value_name = "SU", value_parser = from_text::<SuName>,
        help_heading = "What to move")]
    pub(super) to: Option<SuName>,

    /// The same as an operator types it: "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=ABGSE701"
    #[arg(long, value_name = "COMMAND", value_parser = from_text::<MoveCommand>,
        conflicts_with_all = ["vm", "to"], help_heading = "What to move")]
    pub(super) command: Option<MoveCommand>,

    /// Memory of the VM, as in 512MiB or 4GiB
    ///
    /// A multiple of 1 MiB. With the built-in example, the hot set's window is a quarter of it.
    #[arg(long, value_name = "SIZE", value_parser = from_text::<PageCount>,
        help_heading = "The guest")]
    memory: Option<PageCount>,

    /// What the guest does, one or several separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = words::<WorkloadName>(),
        help_heading = "The guest")]
    workload: Option<Vec<WorkloadName>>,

    /// What the memory holds at first
    #[arg(long, value_name = "WHAT", value_parser = words::<Fill>(), help_heading = "The guest")]
    fill: Option<Fill>,

    /// How the guest answers when it is told of the move
    #[arg(long, value_name = "HOW", value_parser = words::<Manner>(), help_heading = "The guest")]
    guest: Option<Manner>,

    /// Longest stop of the guest, as in 300ms; if it would take longer, the guest stays
    #[arg(long, value_name = "TIME", value_parser = from_text::<Micros>,
        help_heading = "The move")]
    budget: Option<Micros>,

    /// Whether a guest that refuses or is silent stays ("required") or is moved all the same
    #[arg(long, value_name = "HOW", value_parser = words::<Coordination>(),
        help_heading = "The move")]
    coordination: Option<Coordination>,

    /// File that says which SU owns which VM; several processes can share it
    ///
    /// It is made if there is none; see also su390 directory. Without it, the ownership records
    /// are in memory.
    #[arg(long, value_name = "FILE", help_heading = "The move")]
    directory: Option<PathBuf>,

    /// Move the VM so often, there and back in turn; the first move that is not completed and
    /// verified ends it, and gives the exit status
    #[arg(long, value_name = "N", help_heading = "The move")]
    moves: Option<NonZeroU32>,

    /// Kind of connection between the monitors
    #[arg(long, value_name = "KIND", value_parser = words::<LinkKind>(),
        help_heading = "The move")]
    link: Option<LinkKind>,

    /// Slow the connection down to this, as in 1Gbit (per second)
    #[arg(long, value_name = "RATE", value_parser = from_text::<Bandwidth>,
        help_heading = "The move")]
    link_bandwidth: Option<Bandwidth>,

    /// Delay the connection by this in each direction, as in 1ms
    #[arg(long, value_name = "TIME", value_parser = from_text::<Micros>,
        help_heading = "The move")]
    link_delay: Option<Micros>,

    /// Let something go wrong, as in cut-link@commit; the faults and moments are listed below
    ///
    /// Can be given several times.
    #[arg(long, value_name = "FAULT@MOMENT", value_parser = from_text::<FaultPoint>,
        help_heading = "What goes wrong")]
    fault: Vec<FaultPoint>,

    /// What the operator answers when the VM is held in doubt (VMS2455, VMS2456), after nothing
    /// else has resolved the doubt for 5 s; it is checked against what is the case
    #[arg(long, value_name = "ANSWER", value_parser = words::<Decision>(),
        help_heading = "What goes wrong")]
    decide: Option<Decision>,

    /// Keep the monitors' journals in source.journal and target.journal in this directory
    ///
    /// A monitor that is restarted reads its own. Without it, they are in memory.
    #[arg(long, value_name = "DIR", help_heading = "What goes wrong")]
    journal: Option<PathBuf>,

    /// Write a report for programs (JSON); "-" is standard output, and all else goes to standard
    /// error then
    #[arg(long, value_name = "FILE|-", help_heading = "Output")]
    pub(super) json: Option<PathBuf>,

    /// Write the consoles to source-su.txt, target-su.txt and guest.txt in this directory
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(super) out: Option<PathBuf>,

    /// When to use color; "auto" respects NO_COLOR
    #[arg(long, value_name = "WHEN", value_parser = words::<ColorChoice>(), default_value = "auto",
        help_heading = "Output")]
    pub(super) color: ColorChoice,
}

/// What `su390 directory` can do.
#[derive(Debug, Subcommand)]
pub(super) enum DirectoryCommand {
    /// Show each VM with the SU that owns it, the epoch of that, and whether it runs the VM or has
    /// only claimed it.
    Show {
        /// Directory file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Enter a record that was lost, or replace a wrong one.
    #[command(after_help = AFTER_SET)]
    Set(SetCommand),
    /// Serve the records to monitors that have nothing but a socket, until it is ended.
    #[command(after_help = AFTER_SERVE)]
    Serve(ServeCommand),
}

/// The end of the help of `su390 directory serve`.
const AFTER_SERVE: &str = "\
The bytes are in PROTOCOL.md, \"Directory\". Each question and its answer are shown as a line.

Examples:
  su390 directory serve --listen dir.sock --directory cluster.db
      Serve a directory file to all who connect.
  su390 directory serve --connect a.sock --connect b.sock --record VM12PROD:ABGSE501:1
      Serve a record in memory to two machines that listen, each at a serial line of its own.

Exit status:
  2  the command is wrong, or the file or a socket cannot be used";

/// Options of `su390 directory serve`.
#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    /// UNIX socket to make and to listen at; any number of monitors can connect
    #[arg(long, value_name = "PATH", required_unless_present = "connect")]
    pub(super) listen: Vec<PathBuf>,

    /// UNIX socket to connect to; it is tried again until it stands, and when it was closed
    #[arg(long, value_name = "PATH")]
    pub(super) connect: Vec<PathBuf>,

    /// Directory file; without it, the records are in memory and gone at the end
    #[arg(long, value_name = "FILE")]
    pub(super) directory: Option<PathBuf>,

    /// Record that is in memory at the beginning
    #[arg(long, value_name = "VM:OWNER:EPOCH", value_parser = record, conflicts_with = "directory")]
    pub(super) record: Vec<(VmName, Ownership)>,

    /// Do what the N-th question says and do not answer it
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    drop_answer: Vec<u64>,

    /// Answer the N-th question so much later, as in 3:2s
    #[arg(long, value_name = "N:TIME", value_parser = delay)]
    delay_answer: Vec<Mishap>,
}

impl ServeCommand {
    /// Where monitors are met.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let listen = self.listen.iter().cloned().map(Endpoint::Listen);
        listen.chain(self.connect.iter().cloned().map(Endpoint::Connect)).collect()
    }

    /// What befalls answers.
    pub(super) fn mishaps(&self) -> Vec<Mishap> {
        let dropped = self.drop_answer.iter().map(|number| Mishap::Dropped(*number));
        dropped.chain(self.delay_answer.iter().copied()).collect()
    }
}

/// Reads a record.
fn record(text: &str) -> Result<(VmName, Ownership), String> {
    const WRONG: &str = "a record reads VM:OWNER:EPOCH";
    let mut parts = text.split(':');
    let (Some(vm), Some(owner), Some(epoch), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(WRONG.to_owned());
    };
    let owner = SuName::from_text(owner).map_err(|error| error.to_string())?;
    let epoch = Epoch::new(epoch.parse().map_err(|_| WRONG)?);
    let vm = VmName::from_text(vm).map_err(|error| error.to_string())?;
    Ok((vm, Ownership::running(owner, epoch)))
}

/// Reads which answer is late, and how much.
fn delay(text: &str) -> Result<Mishap, String> {
    const WRONG: &str = "a delay reads N:TIME, and the first question is 1";
    let (number, time) = text.split_once(':').ok_or(WRONG)?;
    let number = number.parse().ok().filter(|number| *number > 0).ok_or(WRONG)?;
    let time = Micros::from_text(time).map_err(|error| error.to_string())?;
    Ok(Mishap::Late(number, Duration::from_micros(time.get())))
}

/// The end of the help of `su390 directory set`.
const AFTER_SET: &str = "\
A VM may run on an SU only while its record names this SU and the epoch under which the VM runs
there. So look at both SUs first: a record that lets a second copy run destroys the VM's data.

Examples:
  su390 directory set cluster.db VM12PROD ABGSE701 7
      Let VM12PROD run on ABGSE701, in a new epoch that is higher than any that it had.

Exit status:
  0  the record was entered
  2  it was not: the command is wrong, the file cannot be used, or the epoch is not raised";

/// Arguments of `su390 directory set`.
#[derive(Debug, Args)]
pub(super) struct SetCommand {
    /// Directory file; it is made if there is none
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Name of the VM
    #[arg(value_name = "VM", value_parser = from_text::<VmName>)]
    pub(super) vm: VmName,

    /// SU that is to own it
    #[arg(value_name = "OWNER", value_parser = from_text::<SuName>)]
    pub(super) owner: SuName,

    /// Epoch of that, a whole number
    #[arg(value_name = "EPOCH", value_parser = value_parser!(u64).range(..=EPOCH_MAX))]
    pub(super) epoch: u64,

    /// Replace a record even if its epoch is not raised
    #[arg(long)]
    pub(super) force: bool,
}

/// Takes the words of a choice, and shows them in the help.
fn words<T: Choice + FromText + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::words()).try_map(|word| T::from_text(&word))
}

impl MigrateCommand {
    /// What goes over the configuration.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            directory: self.directory.clone(),
            memory: self.memory,
            run: self.workload.clone(),
            fill: self.fill,
            manner: self.guest,
            budget: self.budget,
            coordination: self.coordination,
            link: self.link,
            bandwidth: self.link_bandwidth,
            delay: self.link_delay,
            trial: Trial {
                moves: self.moves,
                faults: self.fault.clone(),
                decision: self.decide,
                journals: self.journal.clone(),
            },
        }
    }
}

/// The end of the help of `su390 su`.
const AFTER_SU: &str = "\
The VM has one processor, no device, and the memory-only guest. It belongs to the SU that its
ownership record names, and is found where that is.

Deeds:
  start     load the guest and let it run
  send      move the guest to the peer
  receive   wait for a move, without limit, and take the guest
  run:TIME  let the guest run so long, as in run:500ms

Examples:
  su390 su ABGSE501 start send receive --connect link.sock --directory cluster.db
      Move the guest to ABGSE701, wait until it comes back, and verify it.
  su390 su ABGSE701 receive run:1s send --listen link.sock --directory cluster.db
      The other end of that.

Exit status:
  0  everything was done, and the guest was right whenever it was looked at
  1  everything was done, but the guest was wrong
  2  the command or the configuration is wrong, or the directory or the link cannot be used
  3  the check rejected a move
  4  a move was ended and undone
  5  in doubt: the guest is held until it is certain which side may run it";

/// Options of `su390 su`.
#[derive(Debug, Args)]
pub(super) struct SuCommand {
    /// Name of this SU
    #[arg(value_name = "SU", value_parser = from_text::<SuName>)]
    pub(super) name: SuName,

    /// What it does, in this order
    #[arg(value_name = "DEED", required = true, value_parser = deed)]
    pub(super) deeds: Vec<Deed>,

    /// Configuration file (TOML); without it, the built-in example is used
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// SU at the other end; without it, the only other one
    #[arg(long, value_name = "SU", value_parser = from_text::<SuName>)]
    pub(super) peer: Option<SuName>,

    /// UNIX socket to make and to listen at for the link
    #[arg(long, value_name = "PATH", required_unless_present = "connect")]
    listen: Option<PathBuf>,

    /// UNIX socket to connect to for the link; it is tried again until it stands
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    connect: Option<PathBuf>,

    /// File that says which SU owns which VM; start begins a new epoch in it
    #[arg(long, value_name = "FILE", required_unless_present = "directory_socket")]
    directory: Option<PathBuf>,

    /// UNIX socket of su390 directory serve, which has a record of the VM
    #[arg(long, value_name = "PATH", conflicts_with = "directory")]
    pub(super) directory_socket: Option<PathBuf>,

    /// Memory of the VM, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = from_text::<PageCount>)]
    memory: Option<PageCount>,

    /// Pages that the guest writes per second, or "unpaced"
    #[arg(long, value_name = "RATE", value_parser = from_text::<Rate>)]
    pub(super) rate: Option<Rate>,

    /// Longest stop of the guest, as in 300ms
    #[arg(long, value_name = "TIME", value_parser = from_text::<Micros>)]
    budget: Option<Micros>,

    /// When to use color
    #[arg(long, value_name = "WHEN", value_parser = words::<ColorChoice>(), default_value = "auto")]
    pub(super) color: ColorChoice,
}

impl SuCommand {
    /// What goes over the configuration.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            directory: self.directory.clone(),
            memory: self.memory,
            run: Some(vec![WorkloadName::MemoryOnly]),
            budget: self.budget,
            ..Overrides::default()
        }
    }

    /// The link; one of the two is given.
    pub(super) fn link(&self) -> Option<Endpoint> {
        let listen = self.listen.clone().map(Endpoint::Listen);
        listen.or_else(|| self.connect.clone().map(Endpoint::Connect))
    }
}

/// Reads a deed.
fn deed(text: &str) -> Result<Deed, String> {
    match text.split_once(':') {
        None if text == "start" => Ok(Deed::Start),
        None if text == "send" => Ok(Deed::Send),
        None if text == "receive" => Ok(Deed::Receive),
        Some(("run", time)) => {
            let time = Micros::from_text(time).map_err(|error| error.to_string())?;
            Ok(Deed::Run(Duration::from_micros(time.get())))
        }
        None | Some(_) => Err("a deed is start, send, receive or run:TIME".to_owned()),
    }
}

/// The end of the help of `su390 sweep`.
const AFTER_SWEEP: &str = "\
A world has two or three SUs and VMs and at least two moves. Workloads, sizes, limits, links and
faults are drawn from the seed. The table says how often each phase met each fault, and how the
attempts ended that did. A long sweep over all profiles has to meet everything that can be met.

Exit status:
  0  no violation
  1  something happened that may not be, and the seeds are shown with the commands to replay them;
     or a long sweep has missed what can be met";

/// Options of `su390 sweep`.
#[derive(Debug, Args)]
pub(super) struct SweepCommand {
    /// Seeds, from A to before B
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub(super) seeds: (u64, u64),

    /// Faults to meet; without it, the profiles take turns
    #[arg(long, value_name = "NAME", value_parser = profiles())]
    pub(super) profile: Option<Profile>,

    /// Threads; without it, one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// When to use color
    #[arg(long, value_name = "WHEN", value_parser = words::<ColorChoice>(), default_value = "auto")]
    pub(super) color: ColorChoice,
}

impl SweepCommand {
    /// The number of threads.
    pub(super) fn jobs(&self) -> usize {
        let all = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.jobs.map_or_else(all, NonZeroUsize::get)
    }

    /// The profile of a seed.
    pub(super) fn profile_of(&self, seed: u64) -> Profile {
        self.profile.unwrap_or_else(|| super::sweep::profile_of(seed))
    }
}

/// Options of `su390 replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayCommand {
    /// The seed of the world
    #[arg(value_name = "SEED")]
    pub(super) seed: u64,

    /// The faults that it meets; without it, the same as in a sweep without
    #[arg(long, value_name = "NAME", value_parser = profiles())]
    pub(super) profile: Option<Profile>,

    /// When to use color
    #[arg(long, value_name = "WHEN", value_parser = words::<ColorChoice>(), default_value = "auto")]
    pub(super) color: ColorChoice,
}

/// Takes the name of a profile, and shows all of them in the help.
fn profiles() -> impl TypedValueParser<Value = Profile> {
    let names = Profile::ALL.map(Profile::name);
    PossibleValuesParser::new(names)
        .try_map(|name| Profile::from_name(&name).ok_or("no such profile"))
}

/// Reads a range of seeds.
fn seeds(text: &str) -> Result<(u64, u64), String> {
    const WRONG: &str = "a range of seeds reads A..B";
    let (first, end) = text.split_once("..").ok_or(WRONG)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| WRONG);
    let (first, end) = (number(first)?, number(end)?);
    if first < end { Ok((first, end)) } else { Err("the range of seeds is empty".to_owned()) }
}
