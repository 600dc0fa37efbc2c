//! Target, before the first page: HELLO, the check, the VM's shell and its devices.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (synchronous part, setup phase; VMS2430, VMS3050,
//! VMS4005). Invariants: the check changes nothing; all obstacles are answered at once; nothing
//! is set up before BUILD; devices are assigned in the order of their slots and named in it.

use super::{Announcement, Debts, Phase, Step, StepError, Target, TargetLoan, receive::Receiving};
use crate::{
    device::{Assignment, Conduct, Conducts, DeviceEntry, Plan, Progress},
    limits::{DEVICES_MAX, GUEST_PAGES_MAX},
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
    },
    units::{PageCount, Tick},
    vm::{Activity, MigrationMark, Operation, Reason},
    wire::{Frame, Hello, VERSION_MAX, VERSION_MIN},
};

/// A VM is being announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answering {
    /// The definition is to come.
    Definition,
    /// So many devices have come.
    Devices(u16),
    /// The check is under way.
    Checking,
    /// Nothing is in the way; BUILD may come.
    Accepted,
}

/// The VM is being set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Building {
    step: BuildStep,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BuildStep {
    /// The journal is being written.
    Saving,
    /// Control block, storage, processors.
    Vm,
    /// The devices are about to be assigned.
    Beginning,
    /// The devices are being assigned.
    Assigning,
    /// The assigned devices are being named to the operator, this one next.
    Naming(u16),
}

impl Building {
    pub(super) const fn deadline(&self, limits: Limits) -> Tick {
        self.since.after(limits.build)
    }

    /// Whether the journal is being written.
    pub(super) const fn awaits_journal(&self) -> bool {
        matches!(self.step, BuildStep::Saving)
    }

    /// Whether the VM's shell is still being set up.
    pub(super) const fn awaits_vm(&self) -> bool {
        matches!(self.step, BuildStep::Vm)
    }
}

impl Target {
    pub(super) fn in_empty(&mut self, now: Tick, input: Input) -> Step {
        match input {
            Input::Frame(arrival @ Arrival { frame: Frame::Hello(hello), .. }) => {
                self.greeted(now, &arrival, &hello);
                Ok(())
            }
            Input::Deadline => Ok(()),
            Input::Frame(_)
            | Input::Guest(_)
            | Input::Done(_)
            | Input::Failed(_)
            | Input::Directory(_)
            | Input::Checked(_)
            | Input::Stored(_)
            | Input::LinkLost(_)
            | Input::LinkUp => Err(self.out_of_phase(input)),
        }
    }

    fn greeted(&mut self, now: Tick, arrival: &Arrival, hello: &Hello) {
        self.announced = Some(Announcement {
            stream: arrival.stream,
            epoch: arrival.epoch,
            vm: hello.vm,
            source: hello.source,
            pages: hello.pages,
            processors: 0,
            devices: 0,
            activity: Activity::Down,
        });
        let incarnation = self.incarnation;
        if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
            self.out.send(Frame::Aborted { incarnation, reason: Reason::VersionUnknown });
            self.enter(Phase::Dropped(Reason::VersionUnknown));
            return;
        }
        if hello.target != self.reception.su {
            self.out.send(Frame::Aborted { incarnation, reason: Reason::PeerProtocol });
            self.enter(Phase::Dropped(Reason::PeerProtocol));
            return;
        }
        self.out.send(Frame::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            frame_bytes_max: self.reception.frame_bytes_max,
            window: self.reception.window,
            pages: PageCount::new(self.reception.pages_max.get().min(GUEST_PAGES_MAX)),
            vm: hello.vm,
            source: hello.source,
            target: self.reception.su,
        }));
        crate::fmt::trace!("hello at {}", now.get());
        self.enter(Phase::Answering(Answering::Definition));
    }

    pub(super) fn in_answering(
        &mut self,
        now: Tick,
        answering: Answering,
        input: Input,
        loan: &TargetLoan<'_>,
    ) -> Step {
        match (answering, input) {
            (Answering::Definition, Input::Frame(Arrival { frame: Frame::Definition, .. })) => {
                self.phase = Phase::Answering(Answering::Devices(0));
                Ok(())
            }
            (
                Answering::Devices(count),
                Input::Frame(Arrival { frame: Frame::Device(slot), .. }),
            ) => {
                if slot.get() != count || usize::from(count) >= loan.devices.len() {
                    return Err(StepError::Mismatch);
                }
                self.phase = Phase::Answering(Answering::Devices(count.saturating_add(1)));
                Ok(())
            }
            (
                Answering::Devices(count),
                Input::Frame(Arrival { frame: Frame::Check(announced), .. }),
            ) => {
                if count != announced {
                    return Err(StepError::Mismatch);
                }
                if let Some(known) = &mut self.announced {
                    known.devices = count;
                }
                self.out.push(Effect::Start(Operation::CheckVm));
                self.phase = Phase::Answering(Answering::Checking);
                Ok(())
            }
            (Answering::Checking, Input::Checked(findings)) => {
                self.out.send(Frame::Findings(findings));
                if findings == 0 {
                    self.phase = Phase::Answering(Answering::Accepted);
                } else {
                    self.enter(Phase::Dropped(Reason::Rejected));
                }
                Ok(())
            }
            (Answering::Checking, Input::Failed(Operation::CheckVm)) => {
                self.abort(now, Reason::BuildFailed);
                Ok(())
            }
            (Answering::Accepted, Input::Frame(Arrival { frame: Frame::Build, .. })) => {
                self.out.push(Effect::Notice(Notice::IncomingStarted));
                self.debts.insert(Debts::ANNOUNCED);
                // From here on a restarted monitor has something to give back.
                self.save(Stage::Building);
                self.enter(Phase::Building(Building { step: BuildStep::Saving, since: now }));
                Ok(())
            }
            (_, Input::Frame(arrival)) => self.source_ends(now, input, arrival.frame),
            (_, Input::Deadline) => {
                self.late(now);
                Ok(())
            }
            (
                _,
                Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_)
                | Input::LinkUp,
            ) => Err(self.out_of_phase(input)),
        }
    }

    /// The source owes something: the attempt ends when its time has passed.
    pub(super) fn late(&mut self, now: Tick) {
        if self.poll_deadline().is_some_and(|deadline| deadline <= now) {
            let is_lost = self.line.lost().is_some();
            self.abort(now, if is_lost { Reason::LinkLost } else { Reason::PeerSilent });
        }
    }

    pub(super) fn in_building(
        &mut self,
        now: Tick,
        building: Building,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        match (building.step, input) {
            (BuildStep::Saving, Input::Done(Operation::SaveJournal)) => {
                self.out.push(Effect::Start(Operation::BuildVm));
                self.debts.insert(Debts::VM_BUILT);
                self.phase = Phase::Building(Building { step: BuildStep::Vm, ..building });
                Ok(())
            }
            (BuildStep::Saving, Input::Failed(Operation::SaveJournal)) => {
                self.abort(now, Reason::JournalUnavailable);
                Ok(())
            }
            (BuildStep::Vm, Input::Done(Operation::BuildVm)) => {
                self.out.push(Effect::Mark(MigrationMark::Incoming));
                self.out.push(Effect::Notice(Notice::Created));
                let step = BuildStep::Beginning;
                self.phase = Phase::Building(Building { step, ..building });
                Ok(())
            }
            (BuildStep::Vm, Input::Failed(Operation::BuildVm)) => {
                self.debts.remove(Debts::VM_BUILT);
                self.abort(now, Reason::BuildFailed);
                Ok(())
            }
            (BuildStep::Assigning, Input::Done(operation @ Operation::AssignDevice(_))) => {
                let devices = present(loan, self.announced);
                let progress = self.devices.handle_done(operation, devices).ok();
                self.assigned(now, building, input, progress)
            }
            (BuildStep::Assigning, Input::Failed(operation @ Operation::AssignDevice(_))) => {
                let devices = present(loan, self.announced);
                let progress = self.devices.handle_failed(operation, devices).ok();
                self.assigned(now, building, input, progress)
            }
            (_, Input::Frame(arrival)) => self.source_ends(now, input, arrival.frame),
            (_, Input::Deadline) => {
                self.late(now);
                Ok(())
            }
            (
                _,
                Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_)
                | Input::LinkUp,
            ) => Err(self.out_of_phase(input)),
        }
    }

    fn assigned(
        &mut self,
        now: Tick,
        building: Building,
        input: Input,
        progress: Option<Progress>,
    ) -> Step {
        match progress {
            None => return Err(self.out_of_phase(input)),
            Some(Progress::UnderWay) => {}
            Some(Progress::Failed(_)) => self.abort(now, Reason::DeviceUnavailable),
            Some(Progress::Finished) => {
                let step = BuildStep::Naming(0);
                self.phase = Phase::Building(Building { step, ..building });
            }
        }
        Ok(())
    }

    pub(super) fn next_in_building(
        &mut self,
        now: Tick,
        building: Building,
        loan: &mut TargetLoan<'_>,
    ) -> Option<Effect> {
        let devices = present(loan, self.announced);
        match building.step {
            BuildStep::Saving | BuildStep::Vm => None,
            BuildStep::Beginning => {
                self.debts.insert(Debts::DEVICES_ASSIGNED);
                let step = match self.devices.begin(Plan::Assign(Conducts::ASSIGNED), devices) {
                    Ok(Progress::UnderWay) => BuildStep::Assigning,
                    Ok(Progress::Finished) => BuildStep::Naming(0),
                    Ok(Progress::Failed(_)) | Err(_) => {
                        self.abort(now, Reason::DeviceUnavailable);
                        return self.out.pop();
                    }
                };
                self.phase = Phase::Building(Building { step, ..building });
                self.poll_effect(now, loan)
            }
            BuildStep::Assigning => self.devices.poll_operation(devices).map(Effect::Start),
            BuildStep::Naming(slot) => {
                // An alias is assigned without a word when the guest runs.
                let is_named = |entry: &DeviceEntry| entry.descriptor.conduct() != Conduct::Alias;
                let mut rest = (slot..DEVICES_MAX).zip(devices.iter().skip(usize::from(slot)));
                let Some((named, entry)) = rest.find(|(_, entry)| is_named(entry)) else {
                    // The source was waiting for this end; from now on it owes something.
                    self.heard = now;
                    self.enter(Phase::Receiving(Receiving::new()));
                    return self.out.number(Frame::Built(self.incarnation));
                };
                let step = BuildStep::Naming(named.saturating_add(1));
                self.phase = Phase::Building(Building { step, ..building });
                Some(Effect::Notice(Notice::DeviceAssigned {
                    device: entry.descriptor.mnemonic,
                    shared_device: entry.descriptor.assignment == Assignment::SharedDevice,
                }))
            }
        }
    }
}

/// The slots of the devices that were announced.
pub(super) fn present<'a>(
    loan: &'a mut TargetLoan<'_>,
    announced: Option<Announcement>,
) -> &'a mut [DeviceEntry] {
    let count = announced.map_or(0, |known| usize::from(known.devices));
    loan.devices.get_mut(..count).unwrap_or(&mut [])
}
