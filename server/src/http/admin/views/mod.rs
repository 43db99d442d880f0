//! Views of what the wire does not know: forecasts, the calendar, automatic prefunds, deliveries.

pub(super) mod calendar;
pub(super) mod deliveries;
pub(super) mod prefunding;
pub(super) mod treasury;
