//! session-store keeps the sessions, detections and frames of a camera gateway.

pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod media;
pub mod recordings;
pub mod runtime;
pub mod service;
pub mod store;
pub mod sync;
