//! Commands that call a running server's admin API.

pub(super) mod alerts;
pub(super) mod api;
pub(super) mod authorizations;
pub(super) mod breaks;
pub(super) mod calendar;
pub(super) mod cards;
pub(super) mod checks;
pub(super) mod client;
pub(super) mod controls;
pub(super) mod decision;
pub(super) mod deliveries;
pub(super) mod erase;
pub(super) mod explain;
pub(super) mod import;
pub(super) mod lines;
pub(super) mod pages;
pub(super) mod pools;
pub(super) mod prefunds;
pub(super) mod program;
pub(super) mod rates;
pub(super) mod standing;
pub(super) mod treasury;
pub(super) mod users;
