//! The pause before a failed delivery is tried again.

use std::time::Duration;

/// The shortest pause: spares a receiver that restarts.
pub const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause, whatever the receiver asks for: tapgate notices within the hour that a receiver is back.
pub const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// The pause after `failures` in a row: anywhere between [`PAUSE_MIN`] and a ceiling that doubles with each failure up
/// to [`PAUSE_MAX`], so that messages that failed together do not return together. `draw` is a random number of its
/// whole range. A longer `retry_after` (RFC 9110, Retry-After) wins, up to [`PAUSE_MAX`].
#[must_use]
pub fn pause(failures: u32, draw: u32, retry_after: Option<Duration>) -> Duration {
    let ceiling = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX);
    let span = u64::try_from(ceiling.saturating_sub(PAUSE_MIN).as_millis()).unwrap_or(u64::MAX);
    // Below 2^22 milliseconds times below 2^32: no overflow, and the quotient stays below the span.
    let drawn = Duration::from_millis(span.saturating_mul(u64::from(draw)) >> u32::BITS);
    (PAUSE_MIN + drawn).max(retry_after.unwrap_or_default().min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_ceiling_doubles_from_ten_seconds_to_an_hour() {
        let ceilings = [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600];
        for (failures, ceiling) in (1..).zip(ceilings) {
            assert_eq!(pause(failures, 0, None), PAUSE_MIN, "the least draw");
            let most = pause(failures, u32::MAX, None);
            assert!(most < SECOND * ceiling && most > SECOND * ceiling - SECOND / 100, "{failures}: {most:?}");
            let middle = pause(failures, 1 << 31, None);
            assert_eq!(middle, (PAUSE_MIN + SECOND * ceiling) / 2, "jitter is spread over the whole of it");
        }
        assert!(pause(u32::MAX, u32::MAX, None) < PAUSE_MAX);
    }

    #[test]
    fn a_receiver_may_ask_for_more_within_bounds() {
        assert_eq!(pause(1, 0, Some(SECOND * 90)), SECOND * 90);
        assert_eq!(pause(1, 0, Some(SECOND)), PAUSE_MIN, "less than ours");
        assert_eq!(pause(1, 0, Some(Duration::MAX)), PAUSE_MAX);
    }
}
