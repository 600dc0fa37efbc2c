//! What both images of the link check share: opaque values, opaque ports, and the panic handler
//! that must not be there at the end.
//!
//! The panic handler calls a function that nobody defines. An image links only if the optimizer
//! has found every panic unreachable and thrown the handler away; otherwise the linker names the
//! functions which may panic.
//!
//! Source of truth: the public items of `monitor-core`, which `tests/images/report` lists.
//! Invariant: nothing in here can panic or tells the optimizer a value. Deliberately not here:
//! anything that runs; the images are linked and looked at.
#![no_std]

pub mod ports;
pub mod samples;

#[cfg(any(feature = "log", feature = "defmt"))]
mod logging;

use core::{hint::black_box, panic::PanicInfo};

pub use samples::Sample;

unsafe extern "C" {
    /// Nobody defines it.
    safe fn monitor_core_may_panic() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    monitor_core_may_panic()
}

/// Installs the loggers of the features.
pub fn start() {
    #[cfg(any(feature = "log", feature = "defmt"))]
    logging::start();
}

/// A value of which the optimizer knows nothing but the type.
pub fn any<T: Sample>() -> T {
    black_box(T::sample())
}

/// Bytes of which the optimizer knows neither the values nor the number.
pub fn bytes<'b>() -> &'b [u8] {
    static BYTES: [u8; 64] = [0; 64];
    black_box(&BYTES)
}

/// A text of which the optimizer knows neither the characters nor the length.
pub fn text<'t>() -> &'t str {
    black_box("text")
}

/// Takes a value for good, so that it must be computed.
pub fn consume<T>(value: T) {
    black_box(value);
}

/// Defines the entry of an image, which calls `$body`.
#[macro_export]
macro_rules! entry {
    ($body:path) => {
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::entry]
        fn main() -> ! {
            $body();
            loop {
                ::core::hint::spin_loop();
            }
        }

        /// The name that the linker script enters.
        // SAFETY: no other item of the image has this name.
        #[cfg(not(target_arch = "arm"))]
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            $body();
            loop {
                ::core::hint::spin_loop();
            }
        }
    };
}
