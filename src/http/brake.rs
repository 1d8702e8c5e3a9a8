//! The brake on guessing tokens: where too many wrong ones come from, none is looked at for a while.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong tokens …
const MAX_WRONG: u32 = 10;
/// … within this time …
const WITHIN: Duration = Duration::from_secs(60);
/// … and no token is looked at for so long.
const BRAKED_FOR: Duration = Duration::from_secs(30);
/// Addresses that are remembered; the oldest is forgotten first.
const MAX_SOURCES: usize = 1024;

/// Where tokens come from: an address, or the /64 that one IPv6 client has whole, or the unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address; of IPv6 only the upper half counts.
    Ip(IpAddr),
    /// The unix socket.
    Unix,
}

impl Source {
    /// That of the address `ip`.
    pub fn of(ip: IpAddr) -> Self {
        Self::Ip(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "{ip}/64"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix => f.write_str("the unix socket"),
        }
    }
}

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Everything.
    All,
    /// What changes nothing.
    Read,
}

/// Wrong tokens of one source.
struct Tally {
    wrong: u32,
    since: Instant,
    braked_until: Option<Instant>,
}

#[derive(Default)]
struct State {
    tallies: HashMap<Source, Tally>,
    /// When a right token last came from there. Such a source may be a proxy with many clients behind it.
    known: HashMap<(Source, Right), Instant>,
}

/// Counts wrong tokens.
#[derive(Default)]
pub struct Brake(Mutex<State>);

impl Brake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much longer no token from `source` is looked at; `None` where they are.
    pub fn remaining(&self, source: Source, now: Instant) -> Option<Duration> {
        let until = self.lock().tallies.get(&source)?.braked_until?;
        Some(until.saturating_duration_since(now)).filter(|remaining| !remaining.is_zero())
    }

    /// Whether the token of `right` has come from `source` before: it is looked at there even now. Otherwise one guesser
    /// behind a proxy would lock out all who share its address.
    pub fn knows(&self, source: Source, right: Right) -> bool {
        self.lock().known.contains_key(&(source, right))
    }

    /// A right token has come from `source`.
    pub fn right(&self, source: Source, right: Right, now: Instant) {
        let mut state = self.lock();
        make_room(&mut state.known, &(source, right), |since| *since);
        state.known.insert((source, right), now);
    }

    /// A wrong token has come from `source`; says whether the brake takes hold with it.
    pub fn wrong(&self, source: Source, now: Instant) -> bool {
        let mut state = self.lock();
        make_room(&mut state.tallies, &source, |tally| tally.since);
        let tally = state.tallies.entry(source).or_insert(Tally { wrong: 0, since: now, braked_until: None });
        let is_over = tally.braked_until.is_some_and(|until| until <= now);
        if is_over || now.saturating_duration_since(tally.since) >= WITHIN {
            *tally = Tally { wrong: 0, since: now, braked_until: None };
        }
        tally.wrong += 1;
        let takes_hold = tally.wrong >= MAX_WRONG && tally.braked_until.is_none();
        if takes_hold {
            tally.braked_until = Some(now + BRAKED_FOR);
        }
        takes_hold
    }
}

/// Makes room for `key` in a map that is full, by taking out the oldest.
fn make_room<K: Copy + Eq + Hash, V>(map: &mut HashMap<K, V>, key: &K, since: impl Fn(&V) -> Instant) {
    if map.len() < MAX_SOURCES || map.contains_key(key) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| since(value)).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    /// Sends `count` wrong tokens; how many found the brake open, and whether it took hold exactly once.
    fn guess(brake: &Brake, from: Source, now: Instant, count: u32) -> (u32, u32) {
        let (mut looked_at, mut taken_hold) = (0, 0);
        for _ in 0..count {
            if brake.remaining(from, now).is_none() {
                looked_at += 1;
                taken_hold += u32::from(brake.wrong(from, now));
            }
        }
        (looked_at, taken_hold)
    }

    #[test]
    fn a_guesser_gets_ten_tries_and_then_waits() {
        let (brake, from, begin) = (Brake::default(), source("192.0.2.7"), Instant::now());
        assert_eq!(guess(&brake, from, begin, 1000), (MAX_WRONG, 1));
        assert_eq!(brake.remaining(from, begin), Some(BRAKED_FOR));
        assert_eq!(guess(&brake, from, begin + Duration::from_millis(29_999), 1000), (0, 0));
        assert_eq!(guess(&brake, from, begin + BRAKED_FOR, 1000), (MAX_WRONG, 1), "and again");
        assert_eq!(brake.remaining(source("192.0.2.8"), begin), None, "others are not concerned");
    }

    #[test]
    fn slow_mistakes_are_not_guessing() {
        let (brake, from, begin) = (Brake::default(), source("192.0.2.7"), Instant::now());
        for hour in 0..48 {
            assert_eq!(guess(&brake, from, begin + Duration::from_secs(3600 * hour), MAX_WRONG - 1), (MAX_WRONG - 1, 0));
        }
    }

    #[test]
    fn one_ipv6_client_has_a_whole_64_and_a_mapped_address_is_ipv4() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn what_is_known_of_a_source_is_known_by_right() {
        let (brake, proxy, now) = (Brake::default(), source("192.0.2.7"), Instant::now());
        brake.right(proxy, Right::Read, now);
        guess(&brake, proxy, now, 1000);
        assert!(brake.remaining(proxy, now).is_some());
        assert!(brake.knows(proxy, Right::Read) && !brake.knows(proxy, Right::All), "who reads there cannot guess the other");
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let (brake, begin) = (Brake::default(), Instant::now());
        let last = 3 * u32::try_from(MAX_SOURCES).expect("few");
        for number in 0..=last {
            let now = begin + Duration::from_millis(u64::from(number));
            let from = Source::of(IpAddr::from(number.to_be_bytes()));
            brake.wrong(from, now);
            brake.right(from, Right::All, now);
        }
        let state = brake.lock();
        assert_eq!((state.tallies.len(), state.known.len()), (MAX_SOURCES, MAX_SOURCES));
        assert!(state.tallies.contains_key(&Source::of(IpAddr::from(last.to_be_bytes()))));
    }
}
