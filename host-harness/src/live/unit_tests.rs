//! Tests of what a unit is asked to do; what it does is tested with two processes.

use super::*;

#[test]
fn deeds_that_cannot_follow_each_other_are_refused() {
    let (start, send, receive) = (Deed::Start, Deed::Send, Deed::Receive);
    let run = Deed::Run(Duration::ZERO);
    for deeds in [
        vec![start],
        vec![receive],
        vec![start, run, send, receive, run, send],
        vec![receive, send, start],
    ] {
        assert!(in_order(&deeds).is_ok(), "{deeds:?}");
    }
    for (deeds, text) in [
        (vec![], "there is nothing to do"),
        (vec![send], "the guest is not here yet, or not any more"),
        (vec![run], "the guest is not here yet, or not any more"),
        (vec![start, send, send], "the guest is not here yet, or not any more"),
        (vec![start, receive], "the guest is here already"),
        (vec![receive, start], "the guest is here already"),
    ] {
        assert_eq!(in_order(&deeds).unwrap_err().to_string(), text, "{deeds:?}");
    }
}
