//! The mutator: the same seed makes the same inputs, on every machine.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Makes inputs from a corpus and a dictionary.
pub struct Mutator<'c> {
    random: StdRng,
    corpus: &'c [Vec<u8>],
    words: &'c [Vec<u8>],
    max_len: usize,
}

impl<'c> Mutator<'c> {
    /// A mutator; `max_len` in bytes.
    pub fn new(seed: u64, corpus: &'c [Vec<u8>], words: &'c [Vec<u8>], max_len: usize) -> Self {
        Self { random: StdRng::seed_from_u64(seed), corpus, words, max_len }
    }

    /// The next input: one of the corpus, changed in one to eight places; now and then it is noise.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = match self.one_of(self.corpus) {
            Some(seed) if !self.random.random_ratio(1, 64) => seed.clone(),
            _ => {
                let mut noise = vec![0; self.below(512)];
                self.random.fill_bytes(&mut noise);
                noise
            }
        };
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(self.max_len);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.random.random(),
            2 => input.truncate(at),
            3 => {
                let end = at + self.below(input.len() - at + 1).min(64);
                input.drain(at..end);
            }
            4 => {
                let end = at + self.below(input.len() - at + 1).min(64);
                let again = input[at..end].to_vec();
                self.insert(input, at, &again);
            }
            5 => {
                if let Some(word) = self.one_of(self.words) {
                    self.put(input, at, word);
                }
            }
            6 => {
                let edge = EDGES[self.below(EDGES.len())].wrapping_add(self.below(3) as u64).wrapping_sub(1);
                let number = self.number(edge);
                self.put(input, at, &number);
            }
            7 => {
                if let Some(other) = self.one_of(self.corpus) {
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
            _ => {
                let byte = self.random.random();
                let count = 1 + self.below(32);
                self.insert(input, at, &vec![byte; count]);
            }
        }
    }

    /// A number as a length field may hold it: a varint, or 2, 4 or 8 bytes in either order.
    fn number(&mut self, value: u64) -> Vec<u8> {
        match self.below(7) {
            0 => value.to_le_bytes().to_vec(),
            1 => value.to_be_bytes().to_vec(),
            2 => (value as u32).to_le_bytes().to_vec(),
            3 => (value as u32).to_be_bytes().to_vec(),
            4 => (value as u16).to_le_bytes().to_vec(),
            5 => (value as u16).to_be_bytes().to_vec(),
            _ => varint(value),
        }
    }

    /// Over what is there, or in between.
    fn put(&mut self, input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        if self.random.random() && at + bytes.len() <= input.len() {
            input[at..at + bytes.len()].copy_from_slice(bytes);
        } else {
            self.insert(input, at, bytes);
        }
    }

    fn insert(&self, input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        if input.len() + bytes.len() <= self.max_len {
            input.splice(at..at, bytes.iter().copied());
        }
    }

    fn one_of<'v>(&mut self, values: &'v [Vec<u8>]) -> Option<&'v Vec<u8>> {
        if values.is_empty() { None } else { values.get(self.below(values.len())) }
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.random.random_range(0..end) }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
