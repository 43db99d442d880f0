//! UR's arithmetic: prices and the CHF limit, exactly as its contract computes them.

pub mod limit;
pub mod pricing;
