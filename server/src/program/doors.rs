//! The jobs that let requests in: one for people, one for UR.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::descriptors::Shares;
use super::jobs::BESIDE_DECISIONS;
use super::readers::Readers;
use super::runner::Job;
use crate::config::Config;
use crate::http::context::App;
use crate::http::listener::{self, Terms};
use crate::http::places::{Counts, Places};
use crate::http::{admin, public::Public};

/// What the doors are made of.
pub(super) struct Doors {
    pub(super) public: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) shares: Shares,
    pub(super) readers: Readers,
}

impl Doors {
    /// Both, in starting order.
    pub(super) fn jobs(self, app: &Arc<App>, config: &Config) -> Vec<Job> {
        let Doors { public, admin, shares, readers } = self;
        let answers = Public::new(Arc::clone(app), config.public.clone());
        let (pressure, journaling) = (answers.pressure(), Arc::clone(&app.ledger));
        let answers = answers.services();
        let shown = admin::services(Arc::clone(app), config.admin.clone(), readers.handle.clone());
        let places = Places::new(config.connections.admin(shares.admin));
        // On a thread of its own, so that neither waits for the other.
        let people = Job::new("admin", BESIDE_DECISIONS, move |stopping| async move {
            listener::serve(admin, Terms::PEOPLE, places, shown, |_| {}, stopping).await;
            readers.end().await;
        });
        let places = Places::new(config.connections.public(shares.public));
        let health = Arc::clone(&app.health);
        let crowded = move |counts: Counts| health.set_crowded(counts.busy >= shares.public);
        let ur = Job::new("public", None, move |stopping| async move {
            let watch = pressure.watch(journaling, stopping.clone());
            tokio::join!(listener::serve(public, Terms::UR, places, answers, crowded, stopping), watch);
        });
        vec![people, ur]
    }
}
