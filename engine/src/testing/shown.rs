//! What stands of an authorization whose movements UR shows: computed from the list of what happened, in plain integers.

/// UR's statuses, in the order in which they grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// Not understood.
    Shown,
    /// Not settled.
    Pending,
    /// Refused.
    Rejected,
    /// Settled.
    Completed,
}

/// A movement that UR shows.
#[derive(Clone, Debug)]
struct Row {
    /// Of the script: stands for UR's hash.
    hash: u8,
    is_out: bool,
    status: Status,
    amount: i64,
    /// A person ended its hold while it was pending.
    is_ended: bool,
    /// UR showed it both as refused and as settled.
    is_contradicted: bool,
}

/// Every movement of one authorization.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(Vec<Row>);

/// One decision, as far as its movements matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approved {
    /// In the currency paid in.
    pub(super) paid: i64,
    /// The announced part, in the currency paid in.
    pub(super) announced: i64,
    /// A person ended it.
    pub(super) is_ended: bool,
    /// Held in addition.
    pub(super) upcharge: i64,
}

/// What stands.
#[derive(Clone, Debug)]
pub(super) struct Stands {
    /// Still claimed of the source.
    pub(super) held: i64,
    /// Taken by UR.
    pub(super) taken: i64,
    /// Approved, and not rejected by UR.
    pub(super) approved: i64,
    /// Owed by the user for each decision, and beyond all of them.
    pub(super) owed: Vec<i64>,
    /// Name of the state.
    pub(super) state: &'static str,
    /// Held above each decision's amount, and how much of it at most.
    pub(super) upcharges: Vec<(i64, i64)>,
}

impl Approved {
    /// What may be taken above the part that nobody gives back.
    fn upcharge_on(&self, kept: i64) -> i64 {
        if self.is_ended || self.paid == 0 { 0 } else { (self.upcharge * kept + self.paid - 1) / self.paid }
    }
}

impl Rows {
    /// Whether UR shows anything.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds UR's row: false if it says nothing new.
    pub(super) fn show(&mut self, hash: u8, is_out: bool, status: Status, amount: i64) -> bool {
        let is_other = |row: &Row| {
            let are_both_final = row.status == Status::Completed && status == Status::Completed;
            row.hash != hash || row.is_out != is_out || (are_both_final && row.amount != amount)
        };
        let mut own: Vec<&mut Row> = self.0.iter_mut().filter(|row| !is_other(row)).collect();
        // The same amount; else an amount that changed: of what is not settled, and nearest.
        let nearest = |place: &usize| {
            let is_settled = own[*place].status >= Status::Rejected;
            (own[*place].amount != amount, is_settled, (own[*place].amount - amount).abs())
        };
        let place = (0..own.len()).min_by_key(nearest).unwrap_or(0);
        let Some(row) = own.get_mut(place) else {
            self.0.push(Row { hash, is_out, status, amount, is_ended: false, is_contradicted: false });
            return true;
        };
        if (status, amount) == (row.status, row.amount) || status < row.status {
            // A contradiction is said once: UR lists the row again and again.
            let contradicts = status == Status::Rejected && row.status == Status::Completed;
            return contradicts && !std::mem::replace(&mut row.is_contradicted, true);
        }
        row.is_contradicted |= row.status == Status::Rejected && status == Status::Completed;
        (row.status, row.amount) = (status, amount);
        true
    }

    /// A person ends what is held: a pending movement does not hold again.
    pub(super) fn end(&mut self) {
        let pending = |row: &&mut Row| row.is_out && row.status < Status::Rejected;
        self.0.iter_mut().filter(pending).for_each(|row| row.is_ended = true);
    }

    /// Everything that UR shows as taken or about to be taken.
    #[must_use]
    pub(super) fn total_out(&self) -> i64 {
        self.0.iter().filter(|row| row.is_out).map(|row| row.amount).sum()
    }

    fn sum(&self, fits: impl Fn(&Row) -> bool) -> i64 {
        self.0.iter().filter(|row| fits(row)).map(|row| row.amount).sum()
    }

    /// What stands of these decisions.
    #[must_use]
    pub(super) fn stands(&self, draws: &[Approved]) -> Stands {
        let taken = self.sum(|row| row.is_out && row.status == Status::Completed);
        let given = self.sum(|row| !row.is_out && row.status == Status::Completed);
        let pending = self.sum(|row| row.is_out && row.status < Status::Rejected && !row.is_ended);
        let left = self.left_of(draws, taken);
        let approved: i64 = left.iter().sum();
        let announced = draws.iter().map(|draw| draw.announced).sum::<i64>().min(approved);
        // What nobody gives back of each decision: returns come off the oldest.
        let mut returning = announced;
        let kept: Vec<i64> = left
            .iter()
            .map(|part| {
                let kept = (part - returning).max(0);
                returning -= part - kept;
                kept
            })
            .collect();
        let open = || draws.iter().zip(&kept).filter(|(draw, _)| !draw.is_ended);
        let drift_of = |amount: i64| ((amount * 200 + 9_999) / 10_000).max(1);
        // A single return of more, beyond what UR's conversion explains, is a refund.
        let most = announced + drift_of(announced);
        let returns = self.sum(|row| !row.is_out && row.status == Status::Completed && row.amount <= most);
        let mut base = open().map(|(_, kept)| kept).sum::<i64>();
        if open().next().is_some() {
            base += returns.min(announced);
        }
        base += self.of_ended(draws, &kept);
        let drift = drift_of(base);
        if pending == 0 && taken > 0 && taken < base && base - taken <= drift {
            base = taken;
        }
        // Pending beside taken: UR may show one movement as both, but never above what was approved.
        let gross = match pending {
            0 => taken,
            _ if approved == 0 => taken + pending,
            _ => (taken + pending).min(approved.max(taken).max(pending)),
        };
        let claimed = gross.max(base);
        // Taken of what was announced, and not yet given back.
        let overdrawn = (taken - (approved - announced)).clamp(0, announced);
        let awaited = (overdrawn - given.min(announced)).max(0);
        let net_pending = if pending == 0 { taken } else { gross - announced };
        let owed = (taken.max(base).max(net_pending) - given - awaited).max(0);
        let is_given_back =
            draws.iter().any(|draw| draw.announced > 0) || approved < draws.iter().map(|draw| draw.paid).sum();
        let is_understood = self.0.iter().any(|row| row.status > Status::Shown);
        let state = if is_given_back && approved == announced && owed == 0 {
            "reversed"
        } else if claimed > taken {
            match (taken > 0, is_understood) {
                (true, _) => "partly_cleared",
                (false, true) => "confirmed",
                (false, false) => "approved",
            }
        } else if taken > 0 {
            "cleared"
        } else if draws.iter().all(|draw| draw.is_ended) {
            "released"
        } else if is_understood {
            "confirmed"
        } else {
            "approved"
        };
        // Until UR took all, a merchant may take this much in total; then, what is shown as pending.
        let upcharges: Vec<i64> = draws.iter().zip(&kept).map(|(draw, kept)| draw.upcharge_on(*kept)).collect();
        let most = base + upcharges.iter().sum::<i64>();
        let most = if taken < base { most } else { most.min(taken + pending) };
        let mut rest = (most - claimed).max(0);
        let upcharges = upcharges.into_iter().map(|most| {
            let part = rest.min(most);
            rest -= part;
            (part, most)
        });
        let (held, upcharges) = (claimed - taken, upcharges.collect());
        Stands { held, taken, approved, owed: shared(owed, draws, &left, &kept), state, upcharges }
    }

    /// What UR takes of ended decisions beside open ones: rows of the amount of one of those, and of no open one's.
    fn of_ended(&self, draws: &[Approved], kept: &[i64]) -> i64 {
        let of = |is_ended: bool| -> Vec<i64> {
            draws.iter().zip(kept).filter(|(draw, _)| draw.is_ended == is_ended).map(|(_, kept)| *kept).collect()
        };
        let (ended, open) = (of(true), of(false));
        if open.is_empty() {
            return 0;
        }
        let is_of =
            |amount: i64| ended.contains(&amount) && !open.contains(&amount) && open.iter().sum::<i64>() != amount;
        let taken = self.sum(|row| {
            let is_taken = row.status == Status::Completed || row.status < Status::Rejected && !row.is_ended;
            row.is_out && is_taken && is_of(row.amount)
        });
        taken.min(ended.iter().sum())
    }

    /// What UR did not reject of each decision: a rejection lowers one of its amount, else the youngest.
    fn left_of(&self, draws: &[Approved], taken: i64) -> Vec<i64> {
        let mut left: Vec<i64> = draws.iter().map(|draw| draw.paid).collect();
        let mut rejected: Vec<i64> =
            self.0.iter().filter(|row| row.is_out && row.status == Status::Rejected).map(|row| row.amount).collect();
        rejected.sort_unstable_by(|one, other| other.cmp(one));
        for amount in rejected {
            // UR rejects nothing that it took.
            let mut amount = amount.min((left.iter().sum::<i64>() - taken).max(0));
            if let Some(own) = left.iter_mut().find(|own| **own == amount) {
                *own = 0;
                continue;
            }
            for own in left.iter_mut().rev() {
                let part = amount.min(*own);
                *own -= part;
                amount -= part;
            }
        }
        left
    }
}

/// Shares what the user owes among the decisions: those open first, the oldest first, at most what nobody gives back; then
/// up to what was approved; the rest is beyond all.
fn shared(owed: i64, draws: &[Approved], left: &[i64], kept: &[i64]) -> Vec<i64> {
    let mut rest = owed;
    let mut shares = vec![0; draws.len()];
    let order = |ended: bool| (0..draws.len()).filter(move |place| draws[*place].is_ended == ended);
    let rounds = order(false).chain(order(true)).map(|place| (place, kept[place]));
    for (place, most) in rounds.chain(left.iter().copied().enumerate()) {
        let part = rest.min(most - shares[place]).max(0);
        shares[place] += part;
        rest -= part;
    }
    shares.push(rest);
    shares
}
