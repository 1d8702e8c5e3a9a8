//! Lengths of time in classes, so that what reaches into a window is one bounded seek for each class that occurs.

/// The class of a length in microseconds: 0 is below one second (or negative), n from 2^(n-1) up to, not including, 2^n seconds.
pub fn class(micros: i64) -> u8 {
    let seconds = u64::try_from(micros / 1_000_000).unwrap_or(0);
    // At most 39 bits: ten thousand years.
    u8::try_from(u64::BITS - seconds.leading_zeros()).unwrap_or(u8::MAX)
}

/// The lowest start, in microseconds, of anything of `class` that still reaches `from`.
pub fn lowest_reaching(class: u8, from: i64) -> i64 {
    from.saturating_sub(longest(class))
}

/// Nothing of `class` is longer, in microseconds.
pub fn longest(class: u8) -> i64 {
    1_000_000_i64.saturating_mul(1_i64 << class.min(40))
}
