#![no_std]
#![no_main]
unsafe extern "C" { safe fn monitor_core_may_panic() -> !; }
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { monitor_core_may_panic() }
#[cfg(target_arch = "s390x")]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! { loop {} }
#[cfg(target_arch = "arm")]
#[cortex_m_rt::entry]
fn main() -> ! { loop {} }
