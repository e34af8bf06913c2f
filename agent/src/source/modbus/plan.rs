//! Which registers go into one request: neighbours do, as far as the specification lets them and the gap between them
//! is worth reading.

use serde::Deserialize;

/// The four tables of a device (Modbus Application Protocol V1.1b3, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Registers that can be written, function 3.
    Holding,
    /// Registers that can only be read, function 4.
    Input,
    /// Bits that can be written, function 1.
    Coil,
    /// Bits that can only be read, function 2.
    Discrete,
}

impl Table {
    /// The most that one request may ask for (6.1 to 6.4).
    pub const fn most(self) -> u16 {
        match self {
            Self::Holding | Self::Input => 125,
            Self::Coil | Self::Discrete => 2000,
        }
    }

    /// The name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Input => "input",
            Self::Coil => "coil",
            Self::Discrete => "discrete",
        }
    }
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which table.
    pub table: Table,
    /// The first register or bit, as it goes over the wire: from 0.
    pub start: u16,
    /// How many.
    pub count: u16,
}

/// One request, and the values that its answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is asked for.
    pub place: Place,
    /// Which values are in it, by their place in the settings; in order of address.
    pub values: Vec<usize>,
}

/// The requests that read all of `places`; up to `gap` registers between two values are read and thrown away.
pub fn blocks(places: &[Place], gap: u16) -> Vec<Block> {
    let all: Vec<usize> = (0..places.len()).collect();
    join(places, all, gap)
}

impl Block {
    /// The two halves of a request that the device refuses, to find out which value it is. None: there is only one.
    pub fn halves(&self, places: &[Place]) -> Option<[Self; 2]> {
        let middle = self.values.len() / 2;
        let (first, second) = self.values.split_at(middle);
        let cover = |values: &[usize]| join(places, values.to_vec(), u16::MAX).into_iter().next();
        Some([cover(first)?, cover(second)?])
    }

    /// Where the values of `place` are in the answer.
    pub fn part(&self, place: &Place) -> core::ops::Range<usize> {
        let start = usize::from(place.start - self.place.start);
        start..start + usize::from(place.count)
    }
}

fn join(places: &[Place], mut values: Vec<usize>, gap: u16) -> Vec<Block> {
    values.sort_by_key(|value| (places[*value].table, places[*value].start, places[*value].count));
    let mut blocks: Vec<Block> = Vec::new();
    for value in values {
        let place = places[value];
        if let Some(last) = blocks.last_mut()
            && let Some(count) = together(&last.place, &place, gap)
        {
            last.place.count = count;
            last.values.push(value);
            continue;
        }
        blocks.push(Block { place, values: vec![value] });
    }
    blocks
}

/// How many registers `block` has with `place`, which does not begin before it, if one request may ask for them.
fn together(block: &Place, place: &Place, gap: u16) -> Option<u16> {
    let end = |place: &Place| u32::from(place.start) + u32::from(place.count);
    let near = u32::from(place.start) <= end(block) + u32::from(gap);
    let count = end(block).max(end(place)) - u32::from(block.start);
    (block.table == place.table && near && count <= u32::from(block.table.most())).then_some(count as u16)
}
