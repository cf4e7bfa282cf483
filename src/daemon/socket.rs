//! What the kernel knows of a connection, and the standard library does not ask it.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::libc;

/// SIOCOUTQ: how many bytes that we wrote are not taken: the other end's system has not acknowledged them (tcp(7)), or on a
/// local socket the other end has not read them (unix(7)). `None` where the system does not tell.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed, so it is open; the kernel writes one int, which may be any bits, and keeps no
    // pointer to it.
    let told = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    usize::try_from(bytes).ok().filter(|_| told == 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::unacknowledged;

    #[test]
    fn the_kernel_tells_what_the_other_end_has() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_other, _) = listener.accept().unwrap();
        one.set_nonblocking(true).unwrap();
        // Until the other end takes no more.
        while one.write(&[b'x'; 65_536]).is_ok() {}
        assert!(unacknowledged(one.as_fd()).unwrap() > 0);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(unacknowledged(file.as_fd()), None);
    }

    #[test]
    fn the_kernel_tells_what_was_read() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert_eq!(unacknowledged(one.as_fd()), Some(0));
        one.write_all(b"request").unwrap();
        let mut part = [0; 4];
        other.read_exact(&mut part).unwrap();
        assert_ne!(unacknowledged(one.as_fd()).unwrap(), 0);
        // Closed for both directions, it tells still.
        one.shutdown(std::net::Shutdown::Both).unwrap();
        assert_ne!(unacknowledged(one.as_fd()).unwrap(), 0);
        other.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(unacknowledged(one.as_fd()), Some(0));
    }
}
