//! The two listeners: UR's callbacks in public, people and programs on the admin side. Handlers are thin.

pub mod admin;
mod arrival;
pub mod context;
pub mod listener;
mod meters;
pub mod problem;
pub mod public;
