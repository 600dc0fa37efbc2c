//! The bare /390 monitor: the program that the machine boots.
//!
//! Source of truth: ARCHITECTURE.md. Invariant: everything is in the library; this file only makes
//! an image of it. Deliberately not here: anything else.

#![no_std]
#![no_main]

use su390_image as _;
