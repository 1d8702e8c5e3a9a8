//! Every input that is kept, given to its target, and mutations of it: without libFuzzer, on any toolchain.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use session_store_fuzz::TARGETS;

/// How long each target is given mutations.
const MUTATED_FOR: Duration = Duration::from_secs(1);
/// The same mutations each time: a failure must come back.
const SEED: u64 = 0x005e_5510_0570_4e01;

/// Bytes that mean something to one parser or another.
const TELLING: &[u8] = b"\0%/\\.\"{}[]:,-+0 9\r\n\xff\xc0Z=&";

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or_default()
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => drop(input.remove(at)),
                2 => input.insert(at, TELLING[self.below(TELLING.len())]),
                3 => input.truncate(at),
                4 => input.splice(at..at, other[self.below(other.len())..].iter().take(40).copied()).for_each(drop),
                _ => input.extend_from_within(at..),
            }
        }
        input.truncate(1 << 16);
    }
}

#[test]
fn what_is_kept_and_mutations_of_it_hold() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let inputs: Vec<_> = files.iter().map(|file| fs::read(file).expect("an input")).collect();
        assert!(inputs.len() >= 5, "{name} has hardly a corpus");
        let try_one = |input: &[u8], from: &Path| {
            let held = catch_unwind(AssertUnwindSafe(|| target(input)));
            assert!(held.is_ok(), "{name} fails on (a mutation of) {}: {:?}", from.display(), String::from_utf8_lossy(input));
        };
        for (input, file) in inputs.iter().zip(&files) {
            try_one(input, file);
        }
        let mut random = Random(SEED);
        let end = Instant::now() + MUTATED_FOR;
        while Instant::now() < end {
            let at = random.below(inputs.len());
            let mut input = inputs[at].clone();
            let other = random.below(inputs.len());
            random.mutate(&mut input, &inputs[other]);
            try_one(&input, &files[at]);
        }
    }
}
