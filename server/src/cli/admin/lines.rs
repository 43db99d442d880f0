//! Batches of lines from a stream of any length; each line keeps its number in the stream.

use std::io::{self, BufRead};

/// The admin API lists at most this many bad lines of one request individually.
pub(in crate::cli) const BATCH_LINES_MAX: u64 = 1_000;
/// Bytes after which a batch is full; the admin API accepts eight times as much.
pub(in crate::cli) const BATCH_BYTES_MAX: usize = 8 << 20;
/// The longest line that the admin API accepts.
pub(in crate::cli) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Consecutive lines of the stream. A line that is too long is empty here, so that the others keep their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Batch {
    pub(in crate::cli) lines_before: u64,
    pub(in crate::cli) lines: u64,
    /// Bytes of the stream in this batch, of lines that are too long, too.
    pub(in crate::cli) bytes_read: u64,
    pub(in crate::cli) body: Vec<u8>,
    /// The numbers, in the whole stream, of lines that are too long.
    pub(in crate::cli) too_long: Vec<u64>,
}

/// Reads batches with bounded memory, whatever the stream.
pub(in crate::cli) struct Batches<R> {
    reader: R,
    lines_read: u64,
}

impl<R: BufRead> Batches<R> {
    pub(in crate::cli) fn new(reader: R) -> Batches<R> {
        Batches { reader, lines_read: 0 }
    }

    /// `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub(in crate::cli) fn next(&mut self) -> io::Result<Option<Batch>> {
        let mut batch = Batch { lines_before: self.lines_read, ..Batch::default() };
        while batch.lines < BATCH_LINES_MAX && batch.body.len() < BATCH_BYTES_MAX {
            let begin = batch.body.len();
            let bytes = self.line(&mut batch.body)?;
            if bytes == 0 {
                break;
            }
            self.lines_read += 1;
            batch.lines += 1;
            batch.bytes_read += bytes;
            if batch.body.len() - begin > LINE_BYTES_MAX {
                batch.body.truncate(begin);
                batch.too_long.push(self.lines_read);
            }
            batch.body.push(b'\n');
        }
        Ok((batch.lines > 0).then_some(batch))
    }

    /// Appends a line without its end; of a line that is too long only enough to detect that. Returns the bytes read; 0
    /// at the end of the stream.
    fn line(&mut self, into: &mut Vec<u8>) -> io::Result<u64> {
        let (begin, mut bytes) = (into.len(), 0);
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let (line, _) = available.split_at(end.unwrap_or(available.len()));
            let room = (LINE_BYTES_MAX + 1).saturating_sub(into.len() - begin);
            into.extend(line.iter().take(room));
            let used = line.len() + usize::from(end.is_some());
            self.reader.consume(used);
            bytes += used as u64;
            if end.is_some() || used == 0 {
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &[u8], buffer_bytes: usize) -> Vec<Batch> {
        let mut batches = Batches::new(io::BufReader::with_capacity(buffer_bytes, text));
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    #[test]
    fn batches_are_bounded_and_lines_keep_their_numbers() {
        let text: String = (1..=2500).map(|number| format!("line {number}\n")).collect();
        let found = batches(text.trim_end().as_bytes(), 7);
        assert_eq!(found.iter().map(|batch| batch.lines_before).collect::<Vec<_>>(), [0, 1000, 2000]);
        assert_eq!(found.iter().map(|batch| batch.lines).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(found.iter().map(|batch| batch.bytes_read).sum::<u64>(), text.len() as u64 - 1);
        let joined: Vec<u8> = found.into_iter().flat_map(|batch| batch.body).collect();
        assert_eq!(joined, text.as_bytes());
    }

    #[test]
    fn a_line_too_long_is_left_out_and_the_next_keeps_its_number() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let longest = "y".repeat(LINE_BYTES_MAX);
        let found = batches(format!("a\n{long}\n{longest}\nb").as_bytes(), 8192);
        let [batch] = found.as_slice() else { panic!("one batch: {}", found.len()) };
        assert_eq!(batch.too_long, [2]);
        assert_eq!(batch.lines, 4);
        assert_eq!(batch.body, format!("a\n\n{longest}\nb\n").as_bytes());
    }

    #[test]
    fn an_empty_stream_has_no_batch_and_empty_lines_count() {
        assert_eq!(batches(b"", 16), []);
        let found = batches(b"\n\na", 16);
        assert_eq!(found.first().map(|batch| (batch.lines, batch.body.as_slice())), Some((3, &b"\n\na\n"[..])));
    }
}
