//! Every public function of monitor-core, called with values that the optimizer does not know.
//!
//! The image links only if none of them can panic. Each call names its function in full, as
//! `Type::function(...)`, and each argument is hidden anew, so that no call profits of what
//! another one has found out. A macro of the form `name!(Type)` calls what it names
//! `$Type::function`.
//!
//! Source of truth: the public items of `monitor-core`; `tests/images/report surface` fails when
//! one is not named in this folder. Deliberately not here: `Debug` that is derived.
#![no_std]
#![no_main]

mod calls;
mod devices;
mod directory;
mod driver;
mod machines;
mod messages;
mod ports;
mod processor;
mod storage;
mod vm;
mod wire;

link_check::entry!(everything);

fn everything() {
    link_check::start();
    storage::calls();
    processor::calls();
    devices::calls();
    vm::calls();
    messages::calls();
    wire::calls();
    machines::calls();
    directory::calls();
    driver::calls();
    ports::calls();
    // Stands last: it would go unnoticed if the optimizer knew of a call that it does not return.
    #[cfg(feature = "panics")]
    {
        let index: usize = link_check::any();
        link_check::consume(link_check::bytes()[index]);
    }
}
