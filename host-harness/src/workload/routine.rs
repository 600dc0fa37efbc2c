//! Routines: guest code with an address for each of its instructions.
//!
//! A routine is a row of points, each of which is one instruction of [`INSTRUCTION_BYTES`]. The PSW
//! says which point is next, and points behind the one that is carried out. So an interruption
//! between two points, on whichever SU, and a LOAD PSW of the old PSW go on exactly there; and a
//! branch, a supervisor call or a program interruption in a point finds the PSW as the architecture
//! has it.
//!
//! Source of truth: Principles of Operation, "Sequential Execution of Instructions". Invariant: a
//! point remembers nothing but in registers and storage. Deliberately not here: code that stays at
//! one address while it works, such as the dispatcher.

use crate::machine::{Context, Exception, INSTRUCTION_BYTES, Step};

/// One instruction of a routine.
pub(super) type Point = fn(&mut Context<'_>) -> Result<(), Exception>;

/// A routine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routine {
    /// The address of its first point.
    pub(super) origin: u64,
    /// Its points.
    pub(super) points: &'static [Point],
}

impl Routine {
    /// The point at an address.
    pub(super) fn point_at(&self, address: u64) -> Option<Point> {
        let offset = address.checked_sub(self.origin)?;
        let number = usize::try_from(offset / INSTRUCTION_BYTES).ok()?;
        let is_point = offset.is_multiple_of(INSTRUCTION_BYTES);
        self.points.get(number).copied().filter(|_| is_point)
    }
}

/// Runs points from the PSW's address on, until the budget is spent, the program has to return, or
/// the PSW leaves the routines.
pub(super) fn run(
    context: &mut Context<'_>,
    budget: u32,
    routines: &[Routine],
) -> Result<Step, Exception> {
    let mut worked = 0;
    while worked < budget.max(1) && !context.has_to_return() {
        let address = context.state.psw.address;
        let found = routines.iter().find_map(|routine| routine.point_at(address));
        let Some(point) = found else {
            // There is no code here: a PSW that went astray.
            return if worked > 0 { Ok(step(worked, context)) } else { Err(Exception::Operation) };
        };
        context.state.psw.address = address.wrapping_add(INSTRUCTION_BYTES);
        point(context)?;
        worked += 1;
    }
    Ok(step(worked, context))
}

fn step(worked: u32, context: &Context<'_>) -> Step {
    Step { worked, next_due: Some(context.now()) }
}
