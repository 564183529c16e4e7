//! Decodes header blocks: HPACK (RFC 7541), the half of it that a client needs to listen.
//!
//! The crates for it are abandoned, or build a hash map for each string; h2 keeps its own to
//! itself. Table and list are bounded, and a string is copied only where it is Huffman-coded.

mod huffman;
mod table;

use self::table::{ENTRY_BYTES, Table};

/// The dynamic table that a client offers by saying nothing (RFC 9113, 6.5.2).
const TABLE_BYTES_MAX: usize = 4096;
/// The longest header list, counted as in RFC 9113, 6.5.2.
const LIST_BYTES_MAX: usize = super::LIST_BYTES_MAX as usize;

/// Why a block cannot be decoded. The connection is lost: its table is in disorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("a header block that ends in the middle")]
    Truncated,
    #[error("a header block with an integer that is too large")]
    Integer,
    #[error("a header block with an index that is not in the table")]
    Index,
    #[error("a header block with a string that is not well coded")]
    Huffman,
    #[error("a header block that changes the table's size where it must not")]
    Size,
    #[error("a header list that is too long")]
    TooLong,
}

/// The decoder of one connection.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    /// Name and value, where they had to be decoded.
    scratch: [Vec<u8>; 2],
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { table: Table::new(TABLE_BYTES_MAX), scratch: [Vec::new(), Vec::new()] }
    }

    /// Changes whenever a block may mean something else than before.
    pub(super) fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// Gives `field` the name and the value of each field of a whole block.
    ///
    /// # Errors
    /// If the block is malformed; then the decoder is of no more use.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), BlockError> {
        let mut list_bytes = 0;
        let mut began = false;
        while let Some(&first) = block.first() {
            if first & 0b1110_0000 == 0b0010_0000 {
                let bytes_max = integer(&mut block, 5)?;
                if began || bytes_max > TABLE_BYTES_MAX {
                    return Err(BlockError::Size);
                }
                self.table.resize(bytes_max);
                continue;
            }
            began = true;
            let mut emit = |name: &[u8], value: &[u8]| {
                list_bytes += name.len() + value.len() + ENTRY_BYTES;
                if list_bytes > LIST_BYTES_MAX {
                    return Err(BlockError::TooLong);
                }
                field(name, value);
                Ok(())
            };
            if first & 0b1000_0000 != 0 {
                let index = integer(&mut block, 7)?;
                let (name, value) = self.table.at(index).ok_or(BlockError::Index)?;
                emit(name, value)?;
            } else {
                self.literal(&mut block, first, emit)?;
            }
        }
        Ok(())
    }

    /// A field whose value, and perhaps whose name, is written out (RFC 7541, 6.2).
    fn literal(
        &mut self,
        block: &mut &[u8],
        first: u8,
        mut emit: impl FnMut(&[u8], &[u8]) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let is_added = first & 0b0100_0000 != 0;
        let index = integer(block, if is_added { 6 } else { 4 })?;
        let [name_scratch, value_scratch] = &mut self.scratch;
        if index == 0 {
            let name = string(block, name_scratch)?;
            let value = string(block, value_scratch)?;
            emit(name, value)?;
            if is_added {
                self.table.add(name, value);
            }
            return Ok(());
        }
        let (name, _) = self.table.at(index).ok_or(BlockError::Index)?;
        let value = string(block, value_scratch)?;
        emit(name, value)?;
        if is_added {
            // A copy, for the entry that it stands in may be dropped to make room.
            name_scratch.clear();
            name_scratch.extend_from_slice(name);
            self.table.add(name_scratch, value);
        }
        Ok(())
    }
}

/// An integer whose first bits are the last of the first byte (RFC 7541, 5.1).
fn integer(block: &mut &[u8], prefix_bits: u32) -> Result<usize, BlockError> {
    /// Enough for any length that is allowed, far from overflow.
    const SHIFT_MAX: u32 = 21;
    let mask = (1 << prefix_bits) - 1;
    let mut value = usize::from(byte(block)?) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in (0..=SHIFT_MAX).step_by(7) {
        let next = byte(block)?;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BlockError::Integer)
}

fn byte(block: &mut &[u8]) -> Result<u8, BlockError> {
    let (first, rest) = block.split_first().ok_or(BlockError::Truncated)?;
    *block = rest;
    Ok(*first)
}

/// A string (RFC 7541, 5.2): a part of the block, or what it stands for in `scratch`.
fn string<'a, 'b: 'a>(
    block: &mut &'b [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], BlockError> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(BlockError::Truncated)?;
    *block = rest;
    if !is_coded {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).ok_or(BlockError::Huffman)?;
    Ok(scratch)
}

#[cfg(test)]
mod tests;
