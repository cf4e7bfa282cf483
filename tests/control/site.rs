//! A server of one test's own, and jabberctl for it.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use jabber::net::uninterrupted;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt};
use nix::unistd::Pid;

/// Only a broken program makes a test wait this long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until there is an answer. `what` is awaited, for who reads why a test failed.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in {} seconds: {what}", PATIENCE.as_secs());
    }
}

/// Does what ends when this process of ours does. One that does not end in time is killed, and the test fails.
pub fn bounded<T>(process: u32, act: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGKILL);
        }
        late
    });
    let result = act();
    drop(done);
    assert!(!watch.join().unwrap(), "process {process} did not end in {} seconds", PATIENCE.as_secs());
    result
}

/// A port that nobody else gets while this lives: it is bound, but nobody listens, so connections to it are refused. A server
/// that takes addresses at once after others (`SO_REUSEADDR`, as ours does) can have it all the same.
pub struct Port {
    pub place: SocketAddr,
    _bound: OwnedFd,
}

impl Port {
    pub fn new() -> Port {
        Port::at(Ipv4Addr::LOCALHOST)
    }

    /// On this address of loopback.
    pub fn at(address: Ipv4Addr) -> Port {
        let bound = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&bound, sockopt::ReuseAddr, &true).unwrap();
        bind(bound.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, 0))).unwrap();
        let place: SockaddrIn = getsockname(bound.as_raw_fd()).unwrap();
        Port { place: SocketAddrV4::from(place).into(), _bound: bound }
    }

    pub fn number(&self) -> u16 {
        self.place.port()
    }
}

/// A directory with a configuration, for one test.
pub struct Site {
    pub directory: PathBuf,
    pub port: u16,
    /// What clients ask for.
    pub host: &'static str,
    /// Where clients connect to.
    pub address: IpAddr,
    /// Ports that nobody else shall get.
    pub ports: RefCell<Vec<Port>>,
}

impl Site {
    pub fn new(name: &str) -> Site {
        Site::with(name, "")
    }

    /// With more in its configuration.
    pub fn with(name: &str, extra: &str) -> Site {
        let directory = std::env::temp_dir().join(format!("jabberctl-site-{}-{name}", std::process::id()));
        // What others may do here is said by each test, and not by whoever runs it.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        fs::create_dir_all(&directory).unwrap();
        let own = Port::new();
        let (port, address) = (own.number(), own.place.ip());
        let site = Site { directory, port, host: "localhost", address, ports: RefCell::new(vec![own]) };
        site.write("jabber.xml", &site.xml(extra));
        site
    }

    /// A port for one more use of this site's.
    pub fn port(&self) -> u16 {
        self.hold(Port::new())
    }

    /// Keeps a port as long as the site lives.
    pub fn hold(&self, port: Port) -> u16 {
        let number = port.number();
        self.ports.borrow_mut().push(port);
        number
    }

    pub fn xml(&self, extra: &str) -> String {
        let (directory, port) = (self.directory.display(), self.port);
        format!(
            "<jabber>
               <service id='sessions'><host>localhost</host>
                 <jsm xmlns='jabber:config:jsm'><register/></jsm></service>
               <xdb id='xdb'><xdb_file xmlns='jabber:config:xdb_file'><spool>{directory}/spool</spool></xdb_file></xdb>
               <service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'>
                 <ip port='{port}'>127.0.0.1</ip>
                 <plain-login xmlns='urn:jabber:config:3' network='loopback'/></pthcsock></service>
               <log id='elogger'><host/><logtype/><format>%d: [%t] (%h): %s</format><file>{directory}/error.log</file></log>
               <pidfile>{directory}/jabber.pid</pidfile>{extra}
             </jabber>"
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// A copy of a program that everybody may run: the way to those of a checkout may be closed to others. Another process
    /// makes it, for nobody can run a file that is open for writing, be it in a child that a test beside this one forks.
    pub fn program(&self, original: &str) -> PathBuf {
        let copy = self.directory.join(PathBuf::from(original).file_name().unwrap());
        assert!(Command::new("install").args(["-m", "755", original]).arg(&copy).status().unwrap().success());
        copy
    }

    /// jabberctl with these arguments, for this server.
    pub fn ctl(&self, arguments: &[&str]) -> Ctl {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jabberctl"));
        command.arg("-c").arg(self.path("jabber.xml")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ctl { command, input: None }
    }

    /// A client of the control socket that speaks for itself.
    pub fn connect(&self) -> UnixStream {
        let client = UnixStream::connect(self.path("spool/control")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Starts it in the foreground and waits until it serves.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// The same with these arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jabberd"));
        command.args(arguments);
        self.start_by(command)
    }

    /// Starts it by this command, which ends in jabberd's name.
    pub fn start_by(&self, mut command: Command) -> Running {
        let socket = self.path("notify");
        let _ = fs::remove_file(&socket);
        let news = UnixDatagram::bind(&socket).unwrap();
        news.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whoever the server is started as.
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        command.arg("-c").arg(self.path("jabber.xml")).stdin(Stdio::null()).env("NOTIFY_SOCKET", &socket);
        let running = Running(command.stderr(Stdio::null()).spawn().unwrap());
        let mut buffer = [0; 256];
        loop {
            let count = uninterrupted(|| news.recv(&mut buffer)).expect("a start");
            if buffer[..count] == *b"READY=1" {
                break;
            }
        }
        running
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A server that runs. A test that fails leaves no process behind.
pub struct Running(Child);

impl Running {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(bounded(self.pid(), || self.0.wait()).unwrap().code(), Some(0));
    }

    /// No file of the server's grows beyond so many bytes from now on, or all do again. False if that cannot be had here.
    pub fn bound_files(&self, bytes: Option<u64>) -> bool {
        let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.0.id().to_string(), &format!("--fsize={soft}:")]);
        prlimit.status().is_ok_and(|status| status.success())
    }

    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run of jabberctl.
pub struct Ctl {
    command: Command,
    input: Option<String>,
}

impl Ctl {
    pub fn input(mut self, text: &str) -> Ctl {
        self.input = Some(text.to_owned());
        self.command.stdin(Stdio::piped());
        self
    }

    /// What would be run.
    pub fn command(self) -> Command {
        self.command
    }

    pub fn spawn(mut self) -> Child {
        let mut child = self.command.spawn().unwrap();
        if let (Some(text), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // It may end without reading it.
            let _ = stdin.write_all(text.as_bytes());
        }
        child
    }

    pub fn output(self) -> Output {
        let child = self.spawn();
        bounded(child.id(), || child.wait_with_output().unwrap())
    }

    /// What it prints when all goes well.
    pub fn success(self) -> String {
        let output = self.output();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(self) -> serde_json::Value {
        let text = self.success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What it says on standard error when it fails with this code.
    pub fn fails(self, code: i32) -> String {
        let output = self.output();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        errors
    }
}

/// The next line of an answer.
pub fn line(client: &mut UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while uninterrupted(|| client.read(&mut byte)).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// A client of 2004: plain text, and jabber:iq:auth.
pub struct Client {
    stream: std::net::TcpStream,
    heard: String,
}

impl Client {
    /// Opens a stream, and says nothing more.
    pub fn connect(site: &Site) -> Client {
        let stream = std::net::TcpStream::connect((site.address, site.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream, heard: String::new() };
        client.send(&format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{}'>",
            site.host
        ));
        client.until("<stream:stream");
        client
    }

    /// Tries to log in as this user; what the server says to it.
    pub fn try_login(site: &Site, name: &str, password: &str) -> (Client, String) {
        let mut client = Client::connect(site);
        client.send(&format!(
            "<iq type='set' id='auth'><query xmlns='jabber:iq:auth'><username>{name}</username>\
             <password>{password}</password><resource>orchard</resource></query></iq>"
        ));
        let answer = client.until("id='auth'");
        (client, answer)
    }

    /// Logs in, fetches the roster, and becomes available.
    pub fn login(site: &Site, name: &str, password: &str) -> Client {
        let (mut client, answer) = Client::try_login(site, name, password);
        assert!(answer.contains("type='result'"), "{answer}");
        client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>");
        client.until("id='roster'");
        client.until("</iq>");
        client
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until it has heard this, and a whole element after it; what it has heard since the last time.
    pub fn until(&mut self, expected: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(expected) {
                if let Some(end) = self.heard.get(at..).and_then(|rest| rest.find('>')) {
                    let rest = self.heard.split_off(at + end + 1);
                    return std::mem::replace(&mut self.heard, rest);
                }
            }
            let mut buffer = [0; 4096];
            let count = uninterrupted(|| self.stream.read(&mut buffer)).unwrap();
            assert!(count > 0, "closed before {expected}: {}", self.heard);
            self.heard.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// What comes until the server closes the connection.
    pub fn last_words(mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        self.heard + &rest
    }
}

/// A section that speaks to other servers, at this port, and knows where these are.
pub fn federation(port: u16, others: &[(&str, u16)]) -> String {
    let host = |(name, port): &(&str, u16)| format!("<host name='{name}' ip='127.0.0.1' port='{port}'/>");
    let others: String = others.iter().map(host).collect();
    format!(
        "<service id='s2s'><dialback xmlns='jabber:config:dialback'><ip port='{port}'>127.0.0.1</ip>{others}</dialback>
         </service>
         <service id='dns'><dnsrv xmlns='jabber:config:dnsrv'/></service>"
    )
}

/// A DNS server of one test's own: it knows these records, and nothing else is there.
pub struct Dns {
    pub address: std::net::SocketAddr,
    ends: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Dns {
    /// Records: name, type, data as on the wire.
    pub fn new(records: &[(&'static str, u16, &'static [u8])]) -> Dns {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let records: Vec<(String, u16, &'static [u8])> =
            records.iter().map(|(name, kind, data)| ((*name).to_owned(), *kind, *data)).collect();
        let ends = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
                if flag.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
                let _ = socket.send_to(&answer(&buffer[..count], &records), peer);
            }
        });
        Dns { address, ends, thread: Some(thread) }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ends.store(true, std::sync::atomic::Ordering::Release);
        let _ = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"end", self.address));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn answer(query: &[u8], records: &[(String, u16, &'static [u8])]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        name.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let name = name.join(".");
    let found: Vec<_> = records.iter().filter(|(other, other_kind, _)| *other == name && *other_kind == kind).collect();
    let is_there = records.iter().any(|(other, _, _)| *other == name);
    let code = if is_there { 0 } else { 3 };
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).unwrap(), 0, 0, 0, 0]);
    message.extend(question);
    for (_, kind, data) in found {
        message.extend([0xC0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(*data);
    }
    message
}
