//! The two listeners: the public one for UR's callbacks, the admin one for people and programs. Handlers are thin.

pub mod admin;
pub mod arrival;
pub mod context;
mod delivered;
mod events;
pub(crate) mod exchange;
pub mod listener;
mod meters;
pub mod partner;
pub mod places;
pub mod pressure;
pub mod problem;
pub mod public;
mod shapes;
mod single;
