//! The bytes of a ring of spends: differences of neighbours, so that a spend takes some eight bytes instead of
//! twenty-four. A user's row is written whole, with all of them.

use super::spends::Spend;
use crate::bytes::{put_number, take_number};
use crate::ids::Sequence;
use crate::money::ChfMinor;
use crate::time::UnixSeconds;

// What follows a spend's flags; an unset flag stands for the usual value.
/// Several records: the number before the last.
const RANGE: u8 = 1;
/// Another card than that of the spend before.
const CARD: u8 = 1 << 1;
/// Another number of approvals than one.
const COUNT: u8 = 1 << 2;
/// An unshown part other than none and all of `spent`.
const UNSHOWN: u8 = 1 << 3;
/// Nothing follows: the unshown part is all of `spent`.
const UNSHOWN_IS_SPENT: u8 = 1 << 4;
/// A shown part.
const SHOWN: u8 = 1 << 5;
/// The record that showed UR's use.
const COMPLETED: u8 = 1 << 6;
/// Nothing follows: UR may have counted it before.
const URS: u8 = 1 << 7;

/// The bytes of spends, in their order.
pub(super) fn pack(spends: impl Iterator<Item = Spend>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = Spend::NONE;
    for spend in spends {
        let is_all_unshown = !spend.unshown.is_zero() && spend.unshown == spend.spent;
        // Wrapping: a difference below zero takes ten bytes, and is read back as it was.
        let parts = [
            (RANGE, spend.first != spend.last, spend.last.0.wrapping_sub(spend.first.0)),
            (CARD, spend.card != before.card, spend.card.into()),
            (COUNT, spend.count != 1, spend.count.into()),
            (UNSHOWN, !is_all_unshown && !spend.unshown.is_zero(), spend.unshown.0.cast_unsigned()),
            (SHOWN, !spend.shown.is_zero(), spend.shown.0.cast_unsigned()),
            (COMPLETED, spend.completed > Sequence::ZERO, spend.completed.0.wrapping_sub(spend.last.0)),
        ];
        let present = parts.into_iter().filter(|(_, is_present, _)| *is_present);
        let flags = present.clone().fold(0, |flags, (flag, _, _)| flags | flag);
        let alone = [(UNSHOWN_IS_SPENT, is_all_unshown), (URS, spend.is_urs)];
        let flags = alone.into_iter().filter(|(_, is_set)| *is_set).fold(flags, |flags, (flag, _)| flags | flag);
        bytes.push(flags);
        put_number(&mut bytes, spend.last.0.wrapping_sub(before.last.0));
        put_number(&mut bytes, spend.at.0.wrapping_sub(before.at.0).cast_unsigned());
        put_number(&mut bytes, spend.spent.0.cast_unsigned());
        present.for_each(|(_, _, value)| put_number(&mut bytes, value));
        before = spend;
    }
    bytes
}

/// Reads spends back; `None` for bytes that [`pack`] did not write.
pub(super) fn unpack(mut bytes: &[u8]) -> Option<Vec<Spend>> {
    let mut spends = Vec::new();
    let mut before = Spend::NONE;
    while let Some((&flags, rest)) = bytes.split_first() {
        bytes = rest;
        let last = before.last.0.wrapping_add(take_number(&mut bytes)?);
        let at = before.at.0.wrapping_add(take_number(&mut bytes)?.cast_signed());
        let spent = take_number(&mut bytes)?.cast_signed();
        let mut part = |flag: u8, usual: u64| if flags & flag == 0 { Some(usual) } else { take_number(&mut bytes) };
        let range = part(RANGE, 0)?;
        let card = part(CARD, before.card.into())?;
        let count = part(COUNT, 1)?;
        let unshown = part(UNSHOWN, if flags & UNSHOWN_IS_SPENT == 0 { 0 } else { spent.cast_unsigned() })?;
        let shown = part(SHOWN, 0)?;
        let completed = part(COMPLETED, 0_u64.wrapping_sub(last))?;
        before = Spend {
            first: Sequence(last.wrapping_sub(range)),
            last: Sequence(last),
            at: UnixSeconds(at),
            card: u16::try_from(card).ok()?,
            count: u32::try_from(count).ok()?,
            spent: ChfMinor(spent),
            unshown: ChfMinor(unshown.cast_signed()),
            shown: ChfMinor(shown.cast_signed()),
            completed: Sequence(last.wrapping_add(completed)),
            is_urs: flags & URS != 0,
        };
        spends.push(before);
    }
    Some(spends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::spends::any_spend;

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(spends in prop::collection::vec(any_spend(), 0..20)) {
            prop_assert_eq!(unpack(&pack(spends.iter().copied())), Some(spends));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&bytes);
        }
    }
}
