//! File transfers through the loop: two sockets of the kernel's, joined by ours.

use super::*;

/// A client that gives orders, and the two ends of a transfer, which wait.
struct Parked {
    server: Server,
    command: Client<TcpStream>,
    one: TcpStream,
    other: TcpStream,
}

impl Server {
    fn park(&self) -> TcpStream {
        let mut end = Client { stream: connect(self.proxy), buffer: Vec::new() };
        assert_eq!(end.ask("park"), "parked");
        end.stream
    }

    /// What is told of ends that are gone, until both are.
    fn parted(&self) -> [String; 2] {
        [(); 2].map(|()| match self.hear_news() {
            Heard::Gone(reason) => reason,
            other => panic!("{other:?}"),
        })
    }
}

fn parked(bounds: Bounds) -> Parked {
    let server = Server::start(bounds, None);
    let command = server.connect();
    let (one, other) = (server.park(), server.park());
    Parked { server, command, one, other }
}

fn joined(bounds: Bounds, order: &str) -> Parked {
    let mut parked = parked(bounds);
    assert_eq!(parked.command.ask(order), "joined");
    parked
}

fn read(mut stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn noise(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn bytes_go_both_ways_until_both_have_said_all() {
    let Parked { server, command: _command, mut one, mut other } = joined(Bounds::default(), "join");
    let file = noise(8 << 20);
    let copy = file.clone();
    let mut sender = one.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        sender.write_all(&copy).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    other.read_to_end(&mut got).unwrap();
    assert!(got == file);
    writing.join().unwrap();
    // The way back is open still.
    other.write_all(b"thanks").unwrap();
    assert_eq!(read(&one, 6), b"thanks");
    drop(other);
    assert_eq!(one.read(&mut [0]).unwrap(), 0);
    for reason in server.parted() {
        assert_eq!(reason, format!("{} bytes, {}", file.len() + 6, Gone::Eof));
    }
    server.stop().unwrap();
}

#[test]
fn what_comes_before_the_word_waits_in_the_kernel() {
    let Parked { server, mut command, mut one, other } = parked(Bounds::default());
    one.write_all(b"too early").unwrap();
    // The loop has turned since, and nobody has heard of it.
    assert_eq!(command.ask("say still here"), "still here");
    assert_eq!(command.ask("join"), "joined");
    assert_eq!(read(&other, 9), b"too early");
    server.stop().unwrap();
}

#[test]
fn who_leaves_before_the_word_is_missed_at_once() {
    let Parked { server, mut command, one, mut other } = parked(Bounds::default());
    drop(one);
    assert_eq!(server.hear_news(), gone(Gone::Eof));
    // The word comes too late for the other one, too.
    assert_eq!(command.ask("join"), "joined");
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.hear_news(), gone(Gone::Eof));
    server.stop().unwrap();
}

#[test]
fn a_slow_reader_stops_the_sender_and_nobody_else() {
    let Parked { server, mut command, one, other } = joined(Bounds::default(), "join");
    one.set_nonblocking(true).unwrap();
    let piece = noise(64 << 10);
    let mut sent = 0;
    let mut refusals = 0;
    // As much as the buffers of the kernel take, and ours.
    while refusals < 20 {
        match (&one).write(&piece) {
            Ok(count) => (sent, refusals) = (sent + count, 0),
            Err(_) => {
                refusals += 1;
                assert_eq!(command.ask("say others are served"), "others are served");
            }
        }
        assert!(sent < 256 << 20, "somebody keeps it all");
    }
    one.shutdown(Shutdown::Write).unwrap();
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let count @ 1.. = (&other).read(&mut buffer).unwrap() {
        got += count;
    }
    assert_eq!(got, sent);
    server.stop().unwrap();
}

#[test]
fn a_reset_ends_both_sides() {
    let Parked { server, command: _command, one, mut other } = joined(Bounds::default(), "join");
    (&one).write_all(b"so far").unwrap();
    assert_eq!(read(&other, 6), b"so far");
    // Closed with bytes unread, TCP resets.
    other.write_all(b"unread").unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(one.peek(&mut [0]).unwrap(), 1);
    drop(one);
    let mut rest = Vec::new();
    let _ = other.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    let [reason, again] = server.parted();
    assert_eq!(reason, again);
    assert!(reason.starts_with("12 bytes, "), "{reason}");
    server.stop().unwrap();
}

#[test]
fn a_transfer_in_which_nothing_moves_is_given_up() {
    let bounds = Bounds { relay_idle: Duration::from_millis(50), ..Bounds::default() };
    let Parked { server, command: _command, mut one, mut other } = joined(bounds, "join");
    for end in [&mut one, &mut other] {
        assert_eq!(end.read(&mut [0]).unwrap(), 0);
    }
    let reason = format!("0 bytes, {}", Gone::Idle);
    assert_eq!(server.parted(), [reason.clone(), reason]);
    server.stop().unwrap();
}

#[test]
fn a_transfer_is_no_faster_than_it_may_be() {
    let began = Instant::now();
    let Parked { server, command: _command, mut one, other } = joined(Bounds::default(), "join 100000");
    let file = noise(150_000);
    one.write_all(&file).unwrap();
    assert!(read(&other, file.len()) == file);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    server.stop().unwrap();
}

#[test]
fn a_talk_that_ends_is_heard_to_its_end() {
    let server = Server::start(Bounds::default(), None);
    let mut end = Client { stream: connect(server.proxy), buffer: Vec::new() };
    assert_eq!(end.ask("say hello"), "hello");
    end.send("close");
    assert_eq!(end.rest(), "bye\n");
    drop(end);
    assert_eq!(server.hear_news(), gone(Gone::Eof));
    server.stop().unwrap();
}

#[test]
fn the_end_of_the_server_is_the_end_of_transfers() {
    let Parked { server, command: _command, mut one, mut other } = joined(Bounds::default(), "join");
    one.write_all(b"half a file").unwrap();
    assert_eq!(read(&other, 11), b"half a file");
    let waiting = server.park();
    server.stop().unwrap();
    for end in [&mut one, &mut other] {
        assert_eq!(end.read(&mut [0]).unwrap_or(0), 0);
    }
    drop(waiting);
}

#[test]
fn transfers_count_among_the_connections() {
    let bounds = Bounds { connections: 3, ..Bounds::default() };
    let Parked { server, mut command, one, other: _other } = parked(bounds);
    let mut waits = server.connect();
    waits.send("say let in");
    assert_eq!(command.ask("say full"), "full");
    assert!(waits.has_nothing_to_read());
    drop(one);
    assert_eq!(waits.line(), "let in");
    server.stop().unwrap();
}
