//! The daemon's relations with the machine: its clock, its signals, its limits, its log, its time zone, its service manager.

pub mod arenas;
pub mod clock;
pub mod folders;
pub mod limits;
pub mod shutdown;
pub mod systemd;
pub mod telemetry;
pub mod zone;
