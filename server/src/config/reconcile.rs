//! The section `[reconcile]`: the rules for comparing UR's transactions with our holds.

use tapgate_engine::fact::Tolerance;

use super::controls::mcc;
use super::reader::Reader;
use super::sections::{INTERVAL_SECONDS_MAX, MAX_AGE_SECONDS_MAX, seconds};
use crate::provider::reconciliation::Settings;

/// Longest wait for a settlement, in seconds: 90 days.
const EXPIRY_SECONDS_MAX: u32 = 7_776_000;

/// Largest tolerance, in basis points: a tenth.
const DRIFT_BPS_MAX: u16 = 1_000;

/// Most categories of final captures.
const FINAL_CAPTURES_MAX: usize = 100;

/// Categories whose first capture is the last: fuel pumps capture once, less than they authorize.
const FINAL_CAPTURE_MCC: [u16; 3] = [5_541, 5_542, 5_552];

pub(super) fn final_capture_mcc(reader: &mut Reader<'_>) -> Vec<u16> {
    let path = "reconcile.final_capture_mcc";
    let given = reader.list(path, FINAL_CAPTURES_MAX, |reader, item| reader.judge(item, mcc(item)));
    given.unwrap_or_else(|| FINAL_CAPTURE_MCC.to_vec())
}

pub(super) fn reconcile(reader: &mut Reader<'_>) -> Settings {
    let drift_bps = reader.value("reconcile.drift_bps", |setting| setting.integer(0..=DRIFT_BPS_MAX));
    Settings {
        first_look_seconds: seconds(reader, "reconcile.first_look_seconds", INTERVAL_SECONDS_MAX, 300),
        silence_seconds: seconds(reader, "reconcile.silence_seconds", MAX_AGE_SECONDS_MAX, 86_400),
        expiry_seconds: seconds(reader, "reconcile.expiry_seconds", EXPIRY_SECONDS_MAX, 864_000),
        long_expiry_seconds: seconds(reader, "reconcile.long_expiry_seconds", EXPIRY_SECONDS_MAX, 2_592_000),
        return_after_seconds: seconds(reader, "reconcile.return_after_seconds", EXPIRY_SECONDS_MAX, 259_200),
        tolerance: Tolerance { drift_bps: drift_bps.unwrap_or(200) },
    }
}
