//! Stretches in which many ranges would lie: blocks of [`BLOCK`] numbers with one bit for each.
//!
//! A pattern that comes again, as channels that take turns make it, is the same page again: it is held once, however many
//! blocks look like that. A block is compared with those before it once another one changes.

use core::ops::Range;

/// The numbers of a block. Blocks lie at its multiples.
pub const BLOCK: u64 = 4096;
/// One bit for each number of a block: the first is the lowest of the first word.
pub type Bits = [u64; WORDS];

const WORDS: usize = BLOCK as usize / 64;
/// So many blocks back a page that looks the same is found. A pattern with a period up to this repeats within as many.
const BACK: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    /// Ascending.
    blocks: Vec<Block>,
    pages: Vec<Page>,
    /// Places in `pages` that no block uses.
    free: Vec<u32>,
    /// The block that changed last.
    changed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Its first number is this times [`BLOCK`].
    number: u64,
    /// Its place in `pages`.
    page: u32,
}

#[derive(Clone, Debug)]
struct Page {
    /// None if no block uses it.
    bits: Option<Box<Bits>>,
    /// How many blocks do.
    uses: u32,
    ones: u16,
    /// Ranges of ones.
    runs: u16,
}

// What `RangeSet::cost` says.
const _: () = assert!(size_of::<Block>() <= 16 && size_of::<Page>() <= 16 && size_of::<Bits>() == 512);

impl Pages {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), pages: Vec::new(), free: Vec::new(), changed: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// How many pages are held: blocks that look the same have one.
    pub(super) fn distinct(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// The first number behind all blocks.
    pub(super) fn end(&self) -> u64 {
        self.blocks.last().map_or(0, |last| (last.number + 1) * BLOCK)
    }

    /// The numbers of a block.
    pub(super) fn block(&self, at: usize) -> Range<u64> {
        let first = self.blocks[at].number * BLOCK;
        first..first + BLOCK
    }

    /// The index of the first block that ends after `number`.
    pub(super) fn position(&self, number: u64) -> usize {
        let wanted = number / BLOCK;
        match self.blocks.last() {
            Some(last) if last.number < wanted => self.blocks.len(),
            Some(last) if last.number == wanted => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|block| block.number < wanted),
        }
    }

    /// The index of the block that `number` is in.
    pub(super) fn find(&self, number: u64) -> Option<usize> {
        let at = self.position(number);
        (self.blocks.get(at)?.number == number / BLOCK).then_some(at)
    }

    /// The blocks that have numbers of `range`, which is not empty.
    pub(super) fn within(&self, range: &Range<u64>) -> Range<usize> {
        let from = self.position(range.start);
        from..from + self.blocks[from..].partition_point(|block| block.number <= (range.end - 1) / BLOCK)
    }

    pub(super) fn bits(&self, at: usize) -> &Bits {
        const NONE: Bits = [0; WORDS];
        self.page(at).bits.as_deref().unwrap_or(&NONE)
    }

    /// How many numbers of a block are in the set.
    pub(super) fn ones(&self, at: usize) -> u64 {
        u64::from(self.page(at).ones)
    }

    /// How many ranges they are.
    pub(super) fn runs(&self, at: usize) -> usize {
        usize::from(self.page(at).runs)
    }

    fn page(&self, at: usize) -> &Page {
        &self.pages[self.blocks[at].page as usize]
    }

    /// The first range of a block at or behind `from`, as far as it lies there.
    pub(super) fn run_from(&self, at: usize, from: u64) -> Option<Range<u64>> {
        let (Range { start: first, end }, bits) = (self.block(at), self.bits(at));
        let start = next(bits, from.max(first).min(end) - first, 0)?;
        Some(first + start..next(bits, start, u64::MAX).map_or(end, |end| first + end))
    }

    /// Behind the last number of a block.
    pub(super) fn top(&self, at: usize) -> Option<u64> {
        let (word, bits) = self.bits(at).iter().enumerate().rfind(|(_, bits)| **bits != 0)?;
        Some(self.block(at).start + word as u64 * 64 + u64::from(64 - bits.leading_zeros()))
    }

    /// Adds a block that was not there; `range` has its numbers.
    pub(super) fn insert(&mut self, range: &Range<u64>, bits: Bits) {
        let number = range.start / BLOCK;
        let ones = bits.iter().map(|word| word.count_ones() as u16).sum();
        let page = Page { ones, runs: starts(&bits, 0..WORDS), bits: Some(Box::new(bits)), uses: 1 };
        let block = Block { number, page: self.place(page) };
        self.blocks.insert(self.position(range.start), block);
        self.change(number);
    }

    /// Takes blocks out.
    pub(super) fn remove(&mut self, blocks: Range<usize>) {
        for at in blocks.clone() {
            self.release(self.blocks[at].page);
        }
        self.blocks.drain(blocks);
    }

    /// Adds the numbers of `range`, which lie in that block, or takes them out.
    pub(super) fn set(&mut self, at: usize, range: Range<u64>, is_in: bool) {
        let Block { number, page } = self.blocks[at];
        let range = range.start % BLOCK..(range.end - 1) % BLOCK + 1;
        if next(self.bits(at), range.start, if is_in { u64::MAX } else { 0 }).is_none_or(|other| other >= range.end) {
            return;
        }
        if self.pages[page as usize].uses > 1 {
            let own = Page { uses: 1, ..self.pages[page as usize].clone() };
            self.release(page);
            self.blocks[at].page = self.place(own);
        }
        let page = &mut self.pages[self.blocks[at].page as usize];
        if let Some(bits) = page.bits.as_deref_mut() {
            let words = range.start as usize / 64..(range.end as usize).div_ceil(64);
            // The word behind may begin with the range that this one ends with.
            let around = words.start..(words.end + 1).min(WORDS);
            page.runs -= starts(bits, around.clone());
            for word in words {
                let mask = mask(word, &range);
                page.ones -= bits[word].count_ones() as u16;
                bits[word] = if is_in { bits[word] | mask } else { bits[word] & !mask };
                page.ones += bits[word].count_ones() as u16;
            }
            page.runs += starts(bits, around);
        }
        self.change(number);
    }

    /// A block changes: the one that did before is perhaps as it will stay.
    fn change(&mut self, number: u64) {
        if let Some(before) = self.changed.replace(number).filter(|before| *before != number)
            && let Some(at) = self.find(before * BLOCK)
        {
            self.share(at);
        }
    }

    /// Gives a block the page of one before it that looks the same.
    fn share(&mut self, at: usize) {
        let own = self.blocks[at].page;
        let page = &self.pages[own as usize];
        if page.uses > 1 {
            return;
        }
        let mut before = self.blocks[at.saturating_sub(BACK)..at].iter().rev().map(|block| block.page);
        let same = before.find(|other| {
            let other = &self.pages[*other as usize];
            (page.ones, page.runs) == (other.ones, other.runs) && page.bits == other.bits
        });
        if let Some(same) = same
            && let Some(uses) = self.pages[same as usize].uses.checked_add(1)
        {
            self.release(own);
            self.pages[same as usize].uses = uses;
            self.blocks[at].page = same;
        }
    }

    fn place(&mut self, page: Page) -> u32 {
        if let Some(place) = self.free.pop() {
            self.pages[place as usize] = page;
            return place;
        }
        self.pages.push(page);
        // 2^32 pages are 2 TiB.
        self.pages.len() as u32 - 1
    }

    /// One block less uses a page.
    fn release(&mut self, place: u32) {
        let page = &mut self.pages[place as usize];
        page.uses -= 1;
        if page.uses == 0 {
            page.bits = None;
            self.free.push(place);
        }
    }
}

/// Sets the bits of a range.
pub(super) fn fill(bits: &mut Bits, range: Range<u64>) {
    let words = range.start as usize / 64..(range.end as usize).div_ceil(64);
    for (word, bits) in bits.iter_mut().enumerate().take(words.end).skip(words.start) {
        *bits |= mask(word, &range);
    }
}

/// The ranges of ones.
pub(super) fn runs(bits: &Bits) -> impl Iterator<Item = Range<u64>> + '_ {
    let mut at = 0;
    core::iter::from_fn(move || {
        let start = next(bits, at, 0)?;
        at = next(bits, start, u64::MAX).unwrap_or(BLOCK);
        Some(start..at)
    })
}

/// The bits of a word that are in a range, of which it has some.
fn mask(word: usize, range: &Range<u64>) -> u64 {
    let first = word as u64 * 64;
    let (from, to) = (range.start.max(first) - first, range.end.min(first + 64) - first);
    (u64::MAX >> (64 - (to - from))) << from
}

/// The first bit at or behind `from` that is set once every word is changed by exclusive or with `flip`.
fn next(bits: &Bits, from: u64, flip: u64) -> Option<u64> {
    let first = from as usize / 64;
    let mut mask = u64::MAX << (from % 64);
    for (word, bits) in bits.iter().enumerate().skip(first) {
        let found = (bits ^ flip) & mask;
        if found != 0 {
            return Some(word as u64 * 64 + u64::from(found.trailing_zeros()));
        }
        mask = u64::MAX;
    }
    None
}

/// How many ranges begin in these words.
fn starts(bits: &Bits, words: Range<usize>) -> u16 {
    let mut before = words.start.checked_sub(1).map_or(0, |word| bits[word] >> 63);
    let mut count = 0;
    for word in &bits[words] {
        count += (word & !(word << 1 | before)).count_ones() as u16;
        before = word >> 63;
    }
    count
}
