//! Sets of workers as bits, by their places in the list of a [`Board`](super::board::Board): with a thousand workers, what two sets
//! have in common costs sixteen operations.

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set, with room for numbers below `count`.
    pub fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// All numbers below `count`.
    pub fn all(count: usize) -> Self {
        let mut bits = Self::none(count);
        for number in 0..count {
            bits.add(number);
        }
        bits
    }

    pub fn add(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    pub fn has(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Keeps only what is in the other one, too.
    pub fn keep(&mut self, other: &Self) {
        for (place, word) in self.0.iter_mut().enumerate() {
            *word &= other.0.get(place).copied().unwrap_or(0);
        }
    }

    /// Adds what is in the other one.
    pub fn add_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Removes what is in the other one.
    pub fn drop_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }

    /// From the smallest on.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(place, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(place * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_any_size_keep_their_members() {
        let mut bits = Bits::none(130);
        for number in [0, 63, 64, 129] {
            bits.add(number);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut both = Bits::all(130);
        assert_eq!(both.iter().count(), 130);
        both.drop_all(&bits);
        assert_eq!(both.iter().count(), 126);
        bits.remove(64);
        bits.add(1000);
        assert!(bits.has(129) && !bits.has(64) && !bits.has(1000));
        bits.keep(&Bits::all(64));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63]);
        assert!(Bits::none(0).is_empty() && Bits::all(0).is_empty());
    }
}
