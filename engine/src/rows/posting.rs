//! Where UR's transactions were posted.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{AuthorizationId, Sequence};

/// Where a transaction of UR's was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PostingRow {
    pub(crate) sequence: Sequence,
    pub(crate) root: AuthorizationId,
}

/// Where transactions were booked, by what names them.
pub(crate) type Postings = BTreeMap<CompactString, PostingRow>;
