//! The daemon's relations with the machine: its clock, its signals, its limits, its log, its time zone.

pub mod arenas;
pub mod clock;
pub mod folders;
pub mod limits;
pub mod shutdown;
pub mod telemetry;
pub mod zone;
