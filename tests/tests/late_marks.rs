//! Changes that the hardware tells only when it is asked, as change bits of storage keys are.
//!
//! Source of truth: ARCHITECTURE.md, "The stop rule"; `monitor_core::ports::DirtyTracking`.
//! Invariant: a decision counts what has changed up to then. Deliberately not here: that no change
//! is lost, which is in `lost_writes.rs`.

use integration_tests::rig::{Moment, Rig, differences, put};
use monitor_core::migrate::SourcePhase;

#[test]
fn changes_that_the_hardware_tells_when_it_is_asked_count_in_the_decision() {
    let mut rig = Rig::new(150);
    let (mut asked, mut copied) = (0, 0);
    let ended = rig.attempt(&mut |moment, scene| match moment {
        Moment::Collecting => {
            asked += 1;
            // Before the first pass, behind it, and before the decision.
            let pages = match asked {
                2 => 20..30,
                3 => 40..45,
                _ => 0..0,
            };
            pages.for_each(|page| put(scene.guest, page, 31));
        }
        Moment::Copied(_) => copied += u32::from(asked == 1),
        _ => {}
    });
    let copy = ended.copy.expect("a completed move has a copy");
    assert_eq!(ended.source, SourcePhase::Released);
    assert_eq!(differences(&rig.guest, &copy), [] as [u64; 0]);
    assert!(copied > 0 && asked > 3, "{copied} frames, asked {asked} times");
    assert_eq!(ended.statistics.passes.first().map(|pass| pass.left.get()), Some(10));
}
