//! Pages of lists: newest first, each with the cursor of the next one.

use serde_json::json;
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Page;

use crate::http::problem::Problem;

/// Default number of items on a page.
const ITEMS_DEFAULT: usize = 100;
/// Most items on a page.
const ITEMS_MAX: usize = 1_000;

/// The requested page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageAsked {
    pub(super) before: Sequence,
    pub(super) limit: usize,
}

impl PageAsked {
    /// Checks a request's `limit` and its cursor, the `next` of the previous page.
    pub(super) fn new(limit: Option<usize>, cursor: Option<u64>) -> Result<PageAsked, Problem> {
        let limit = limit.unwrap_or(ITEMS_DEFAULT);
        if !(1..=ITEMS_MAX).contains(&limit) {
            return Err(Problem::BadRequest(format!("limit must be 1 to {ITEMS_MAX}")));
        }
        Ok(PageAsked { before: Sequence(cursor.unwrap_or(u64::MAX)), limit })
    }

    /// The page to read, with one extra item that shows whether there is a next page.
    pub(super) fn page(self) -> Page {
        Page { before: self.before, limit: self.limit + 1 }
    }

    /// The list's answer, from the items found for that page.
    pub(super) fn answer<T>(
        self,
        mut found: Vec<T>,
        begun: impl Fn(&T) -> Sequence,
        view: impl Fn(&T) -> serde_json::Value,
    ) -> serde_json::Value {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).map(|last| begun(last).to_string());
        json!({"items": found.iter().map(view).collect::<Vec<_>>(), "next": next})
    }
}
