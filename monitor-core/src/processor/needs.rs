//! What a processor's state asks of the machine that is to take it: facilities.
//!
//! Source of truth: Principles of Operation, "Facility Indications", for which facility brings
//! which state. Invariants: every field is accounted for, so that one that is added says what it
//! needs; state that is as a reset leaves it needs nothing. A guest has state only of facilities
//! that it was given, so that a machine which has these takes every image of it. Deliberately not
//! here: what a machine has.

use super::image::ProcessorImage;
use crate::vm::{Facility, FacilityList};

impl ProcessorImage {
    /// The facilities without which a machine cannot hold this state.
    #[must_use]
    pub fn needs(&self) -> FacilityList {
        let Self {
            // What every processor of the architecture has.
            psw: _,
            state: _,
            sigp_order: _,
            general: _,
            access: _,
            control: _,
            vector,
            floating_control: _,
            prefix: _,
            tod_programmable: _,
            cpu_timer: _,
            clock_comparator: _,
            breaking_event: _,
            program_parameter,
            tod_epoch: _,
            external_call: _,
            emergency_signals: _,
            malfunction_alerts: _,
            machine_check: _,
            restart_pending: _,
            service_signal: _,
            // What the monitor keeps for the guest, whatever the machine.
            pfault_token: _,
            pfault_select: _,
            pfault_compare: _,
            guarded_storage,
            runtime_instrumentation,
            // Where an EXECUTE was interrupted, every processor can take it up.
            execute_target: _,
            prediction_blocked,
            etoken,
            control_program: _,
        } = self;
        [
            (Facility::PROGRAM_PARAMETER, *program_parameter != 0),
            (Facility::VECTOR, has_vectors(vector)),
            (Facility::GUARDED_STORAGE, *guarded_storage != [0; 4]),
            (Facility::RUNTIME_INSTRUMENTATION, *runtime_instrumentation != [0; 64]),
            (Facility::PREDICTION_CONTROL, *prediction_blocked),
            (Facility::ETOKEN, *etoken != [0; 2]),
        ]
        .into_iter()
        .filter(|(_, is_used)| *is_used)
        .fold(FacilityList::EMPTY, |list, (facility, _)| list.with(facility))
    }

    /// Takes away the state of all facilities but these: what a machine that has no others can
    /// hold.
    pub fn confine(&mut self, facilities: &FacilityList) {
        let initial = Self::initial();
        if !facilities.has(Facility::PROGRAM_PARAMETER) {
            self.program_parameter = initial.program_parameter;
        }
        if !facilities.has(Facility::VECTOR) {
            for (number, register) in self.vector.iter_mut().enumerate() {
                *register = if number < FLOATING { *register & LEFT_HALF } else { 0 };
            }
        }
        if !facilities.has(Facility::GUARDED_STORAGE) {
            self.guarded_storage = initial.guarded_storage;
        }
        if !facilities.has(Facility::RUNTIME_INSTRUMENTATION) {
            self.runtime_instrumentation = initial.runtime_instrumentation;
        }
        if !facilities.has(Facility::PREDICTION_CONTROL) {
            self.prediction_blocked = initial.prediction_blocked;
        }
        if !facilities.has(Facility::ETOKEN) {
            self.etoken = initial.etoken;
        }
    }
}

/// Registers whose left halves are the floating-point registers, which need no facility.
const FLOATING: usize = 16;

/// The left half of a vector register.
const LEFT_HALF: u128 = u128::MAX << 64;

/// Whether vector registers hold more than floating-point registers do.
fn has_vectors(vector: &[u128; 32]) -> bool {
    vector.iter().enumerate().any(|(number, register)| {
        let beyond = if number < FLOATING { *register & !LEFT_HALF } else { *register };
        beyond != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut ProcessorImage);

    /// Every state that a facility brings.
    const CASES: [(Facility, Change); 8] = [
        (Facility::PROGRAM_PARAMETER, |image| image.program_parameter = 1),
        (Facility::VECTOR, |image| image.vector[0] = 1),
        (Facility::VECTOR, |image| image.vector[15] = 1 << 63),
        (Facility::VECTOR, |image| image.vector[16] = 1 << 127),
        (Facility::GUARDED_STORAGE, |image| image.guarded_storage[3] = 1),
        (Facility::RUNTIME_INSTRUMENTATION, |image| image.runtime_instrumentation[63] = 1),
        (Facility::PREDICTION_CONTROL, |image| image.prediction_blocked = true),
        (Facility::ETOKEN, |image| image.etoken[1] = 1),
    ];

    #[test]
    fn state_needs_the_facility_that_brings_it_and_no_other() {
        for (facility, change) in CASES {
            let mut image = ProcessorImage::initial();
            assert_eq!(image.needs(), FacilityList::EMPTY);
            change(&mut image);
            assert_eq!(image.needs(), FacilityList::of(&[facility]), "facility {facility}");
        }
    }

    #[test]
    fn floating_point_registers_need_nothing() {
        let mut image = ProcessorImage::initial();
        image.vector[..16].fill(u128::from(u64::MAX) << 64);
        assert_eq!(image.needs(), FacilityList::EMPTY);
    }

    #[test]
    fn a_confined_image_needs_no_more_than_is_there() {
        let mut all = ProcessorImage::initial();
        CASES.iter().for_each(|(_, change)| change(&mut all));
        for (facility, _) in CASES {
            let here = FacilityList::ALL.without(facility);
            let mut image = all.clone();
            image.confine(&here);
            assert_eq!(image.needs(), all.needs().without(facility), "facility {facility}");
            let mut rest = all.clone();
            rest.confine(&FacilityList::ALL);
            assert_eq!(rest, all);
        }
        all.confine(&FacilityList::EMPTY);
        assert_eq!(all, ProcessorImage::initial());
    }
}
