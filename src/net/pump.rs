//! Moving bytes from one socket to another, as fast as the slower of the two.
//!
//! What the receiver does not take at once is kept, and nothing is read before it is gone: the sender then stands still,
//! as TCP makes it. So a transfer holds at most one read of each direction, and one at rest holds nothing.

use std::io;

/// A socket, or what a test puts in its place.
pub(super) trait Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Nothing more will be written.
    fn end(&mut self) -> io::Result<()>;
}

/// A wire, and what is known of it.
pub(super) struct End<W> {
    pub(super) wire: W,
    /// Bytes may wait in the kernel.
    pub(super) readable: bool,
    /// The kernel may take bytes.
    pub(super) writable: bool,
    /// The peer said that it sends no more.
    is_silent: bool,
    /// The peer was told that it gets no more.
    is_told: bool,
    /// What was read and its receiver has not taken yet.
    held: Vec<u8>,
}

impl<W: Wire> End<W> {
    pub(super) fn new(wire: W) -> End<W> {
        End { wire, readable: true, writable: true, is_silent: false, is_told: false, held: Vec::new() }
    }

    /// Moves what this end sends to the other, up to a budget of bytes. Returns how many were read.
    ///
    /// # Errors
    /// One of the two broke.
    pub(super) fn pump(&mut self, to: &mut End<W>, buffer: &mut [u8], budget: usize) -> io::Result<usize> {
        let mut moved = 0;
        loop {
            self.flush(to)?;
            if !self.held.is_empty() {
                return Ok(moved);
            }
            if self.is_silent {
                if !to.is_told {
                    to.is_told = true;
                    // Whoever is gone already need not be told.
                    let _ = to.wire.end();
                }
                return Ok(moved);
            }
            let room = buffer.len().min(budget.saturating_sub(moved));
            let Some(room) = buffer.get_mut(..room).filter(|room| !room.is_empty() && self.readable) else {
                return Ok(moved);
            };
            match self.wire.read(room) {
                Ok(0) => self.is_silent = true,
                Ok(count) => {
                    moved = moved.saturating_add(count);
                    let read = room.get(..count).unwrap_or_default();
                    let taken = if to.writable { to.take(read)? } else { 0 };
                    self.held.extend_from_slice(read.get(taken..).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the other end what was kept for it.
    fn flush(&mut self, to: &mut End<W>) -> io::Result<()> {
        if self.held.is_empty() || !to.writable {
            return Ok(());
        }
        let taken = to.take(&self.held)?;
        self.held.drain(..taken);
        if self.held.is_empty() {
            // One at rest holds nothing.
            self.held = Vec::new();
        }
        Ok(())
    }

    /// Writes what the kernel takes of these bytes.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.wire.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => taken = taken.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Could something move from here to the other end?
    pub(super) fn wants_pump(&self, to: &End<W>) -> bool {
        match self.held.is_empty() {
            false => to.writable,
            true if self.is_silent => !to.is_told,
            true => self.readable,
        }
    }

    /// Is all said in this direction?
    pub(super) fn is_done(&self, to: &End<W>) -> bool {
        self.is_silent && self.held.is_empty() && to.is_told
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A wire with what it will be read from, and room for so many bytes.
    #[derive(Default)]
    struct Toy {
        coming: VecDeque<Vec<u8>>,
        hangs_up: bool,
        got: Vec<u8>,
        room: usize,
        is_ended: bool,
        is_broken: bool,
    }

    impl Wire for Toy {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(mut bytes) = self.coming.pop_front() else {
                return if self.hangs_up { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
            };
            let count = bytes.len().min(buffer.len());
            let rest = bytes.split_off(count);
            buffer[..count].copy_from_slice(&bytes);
            if !rest.is_empty() {
                self.coming.push_front(rest);
            }
            Ok(count)
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.got.extend(&bytes[..count]);
            Ok(count)
        }

        fn end(&mut self) -> io::Result<()> {
            self.is_ended = true;
            Ok(())
        }
    }

    fn pair(room: usize) -> (End<Toy>, End<Toy>) {
        let toy = || End::new(Toy { room, ..Toy::default() });
        (toy(), toy())
    }

    #[test]
    fn everything_arrives_in_order() {
        let (mut from, mut to) = pair(usize::MAX);
        from.wire.coming = VecDeque::from([vec![1, 2, 3], vec![4], vec![5, 6]]);
        from.wire.hangs_up = true;
        let mut buffer = [0; 2];
        assert_eq!(from.pump(&mut to, &mut buffer, 100).unwrap(), 6);
        assert_eq!(to.wire.got, [1, 2, 3, 4, 5, 6]);
        assert!(to.wire.is_ended && from.is_done(&to) && !from.wants_pump(&to));
        // The other direction goes on.
        to.wire.coming.push_back(vec![9]);
        assert!(!to.is_done(&from) && to.wants_pump(&from));
        to.pump(&mut from, &mut buffer, 100).unwrap();
        assert_eq!(from.wire.got, [9]);
    }

    #[test]
    fn a_slow_receiver_stops_the_sender() {
        let (mut from, mut to) = pair(3);
        from.wire.coming = (0..100).map(|n| vec![n; 4]).collect();
        let mut buffer = [0; 16];
        assert_eq!(from.pump(&mut to, &mut buffer, 1_000).unwrap(), 4);
        assert_eq!((from.held.len(), to.writable, from.wants_pump(&to)), (1, false, false));
        // Nothing more is read, however often it is asked.
        for _ in 0..10 {
            assert_eq!(from.pump(&mut to, &mut buffer, 1_000).unwrap(), 0);
        }
        assert_eq!(from.wire.coming.len(), 99);
        (to.writable, to.wire.room) = (true, usize::MAX);
        assert!(from.wants_pump(&to));
        from.pump(&mut to, &mut buffer, 1_000).unwrap();
        assert_eq!((to.wire.got.len(), from.held.capacity()), (400, 0));
    }

    #[test]
    fn a_budget_is_kept() {
        let (mut from, mut to) = pair(usize::MAX);
        from.wire.coming = VecDeque::from([vec![7; 100]]);
        let mut buffer = [0; 16];
        assert_eq!(from.pump(&mut to, &mut buffer, 40).unwrap(), 40);
        assert!(from.wants_pump(&to));
        assert_eq!(from.pump(&mut to, &mut buffer, 0).unwrap(), 0);
        assert_eq!(from.pump(&mut to, &mut buffer, 100).unwrap(), 60);
    }

    #[test]
    fn what_was_sent_before_the_end_still_arrives() {
        let (mut from, mut to) = pair(1);
        from.wire.coming = VecDeque::from([vec![1, 2]]);
        from.wire.hangs_up = true;
        let mut buffer = [0; 16];
        from.pump(&mut to, &mut buffer, 100).unwrap();
        assert!(!to.wire.is_ended);
        (to.writable, to.wire.room) = (true, 1);
        from.pump(&mut to, &mut buffer, 100).unwrap();
        assert_eq!((to.wire.got.as_slice(), to.wire.is_ended), ([1, 2].as_slice(), true));
    }

    #[test]
    fn a_broken_receiver_is_told() {
        let (mut from, mut to) = pair(usize::MAX);
        from.wire.coming = VecDeque::from([vec![1, 2]]);
        to.wire.is_broken = true;
        assert!(from.pump(&mut to, &mut [0; 16], 100).is_err());
    }
}
