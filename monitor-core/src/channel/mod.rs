//! State of the channel subsystem as a guest sees it: subchannels and what they are doing.
//!
//! Source of truth: z/Architecture Principles of Operation (SA22-7832), the chapters on
//! input/output ("I/O Functions", "I/O Interruptions"). Invariant: every bit that a subchannel
//! holds is kept, also those without a name here. Deliberately not here: channel programs, channel
//! paths, and taking or loading the state of a subchannel (a port).

mod image;
mod irb;
mod orb;
mod pmcw;
mod report;
mod schib;
mod scsw;

pub use crate::wire::blocks::ImageError;
pub use image::SubchannelImage;
pub use irb::{IRB_BYTES, Irb};
pub use orb::{ORB_BYTES, Orb};
pub use pmcw::{PMCW_BYTES, Pmcw};
pub use report::ChannelReportWord;
pub use schib::{SCHIB_BYTES, Schib};
pub use scsw::{DeviceStatus, SCSW_BYTES, Scsw, ScswControl, ScswFlags, SubchannelStatus};
