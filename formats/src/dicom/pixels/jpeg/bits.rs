//! Entropy-coded bits and Huffman codes (ITU-T T.81 annexes C and F.2.2).

/// Codes up to this length are found in one look.
const LOOK: u32 = 10;

/// A Huffman table for decoding.
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// For each beginning of `LOOK` bits: length of its code (0: longer than that) and symbol.
    look: Vec<(u8, u8)>,
    /// For each length: the first code beyond it, left-aligned in 16 bits, and what to add for the symbol's index.
    beyond: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length and their symbols; `None` when there are too many codes.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut look = vec![(0, 0); 1 << LOOK];
        let mut beyond = [(0, 0); 17];
        let (mut code, mut index) = (0_u32, 0_usize);
        for len in 1..=16_u32 {
            let count = usize::from(*counts.get(len as usize - 1)?);
            let first = code;
            for &symbol in symbols.get(index..index + count)? {
                if code >> len != 0 {
                    return None;
                }
                if len <= LOOK {
                    let from = (code << (LOOK - len)) as usize;
                    look.get_mut(from..from + (1 << (LOOK - len)))?.fill((len as u8, symbol));
                }
                code += 1;
            }
            *beyond.get_mut(len as usize)? = (code << (16 - len), index as i32 - first as i32);
            index += count;
            code <<= 1;
        }
        Some(Self { look, beyond, symbols: symbols.to_vec() })
    }
}

/// Reads bits up to the next marker; beyond it there are zeros, and [`Bits::is_past_end`] tells.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, the first one highest.
    window: u64,
    available: u32,
    invented: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, available: 0, invented: 0 }
    }

    /// Makes at least 32 bits available.
    #[inline]
    pub fn fill(&mut self) {
        if self.available >= 32 {
            return;
        }
        if let Some(next) = self.data.get(self.at..).and_then(|d| d.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*next);
            // No byte is FF: no byte of the complement is zero.
            let inverse = !word;
            let has_ff = inverse.wrapping_sub(0x0101_0101_0101_0101) & !inverse & 0x8080_8080_8080_8080 != 0;
            if !has_ff {
                // Bits of a byte taken in part are set again, to the same, when it is taken whole.
                self.window |= word >> self.available;
                let taken = (64 - self.available) / 8;
                self.at += taken as usize;
                self.available += taken * 8;
                return;
            }
        }
        self.fill_slowly();
    }

    #[cold]
    fn fill_slowly(&mut self) {
        // Bits below the available ones may be left over from a whole-word fill.
        if self.available < 64 {
            self.window &= !(u64::MAX >> self.available);
        }
        while self.available <= 56 {
            let byte = match self.data.get(self.at) {
                Some(0xff) => match self.data.get(self.at + 1) {
                    Some(0) => {
                        self.at += 2;
                        0xff
                    }
                    Some(0xff) => {
                        self.at += 1;
                        continue;
                    }
                    _ => self.invent(),
                },
                Some(&byte) => {
                    self.at += 1;
                    byte
                }
                None => self.invent(),
            };
            self.window |= u64::from(byte) << (56 - self.available);
            self.available += 8;
        }
    }

    fn invent(&mut self) -> u8 {
        self.invented = self.invented.saturating_add(8);
        0
    }

    /// Whether bits were taken that are not there.
    pub fn is_past_end(&self) -> bool {
        self.invented > self.available
    }

    /// The next `n` bits, 0..=16, without filling.
    #[inline]
    pub fn take(&mut self, n: u32) -> u32 {
        let v = if n == 0 { 0 } else { (self.window >> (64 - n)) as u32 };
        self.window <<= n;
        self.available = self.available.saturating_sub(n);
        v
    }

    /// One bit, filling.
    #[inline]
    pub fn bit(&mut self) -> bool {
        self.fill();
        self.take(1) == 1
    }

    /// The next symbol; `None` for a code that is none. Leaves at least 16 bits available.
    #[inline]
    pub fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        self.fill();
        let (len, symbol) = table.look[(self.window >> (64 - LOOK)) as usize];
        if len > 0 {
            self.window <<= len;
            self.available -= u32::from(len);
            return Some(symbol);
        }
        let code = (self.window >> 48) as u32;
        for len in LOOK + 1..=16 {
            let (beyond, add) = table.beyond[len as usize];
            if code < beyond {
                let index = (code >> (16 - len)) as i32 + add;
                self.take(len);
                return table.symbols.get(usize::try_from(index).ok()?).copied();
            }
        }
        None
    }

    /// The signed number whose magnitude category is `n`, 0..=15 (F.2.2.1).
    #[inline]
    pub fn extend(&mut self, n: u32) -> i32 {
        if n == 0 {
            return 0;
        }
        let v = self.take(n) as i32;
        if v < 1 << (n - 1) { v - (1 << n) + 1 } else { v }
    }

    /// Drops the rest of the byte and passes a restart marker; `false` when there is none.
    pub fn restart(&mut self) -> bool {
        // The window never reaches beyond a marker.
        (self.window, self.available, self.invented) = (0, 0, 0);
        let rest = self.data.get(self.at..).unwrap_or_default();
        let found = rest.array_windows::<2>().position(|w| w[0] == 0xff && (0xd0..=0xd7).contains(&w[1]));
        match found {
            Some(p) if p < 4096 => {
                self.at += p + 2;
                true
            }
            _ => false,
        }
    }

    /// Where the entropy-coded segment ends: the next marker that is no restart.
    pub fn end(&self) -> usize {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let marker =
            |w: &[u8; 2]| w[0] == 0xff && w[1] != 0 && w[1] != 0xff && !(0xd0..=0xd7).contains(&w[1]);
        rest.array_windows::<2>().position(marker).map_or(self.data.len(), |p| self.at + p)
    }
}
