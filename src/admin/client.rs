//! The talk with one client of the control socket.
//!
//! | state | comes | next |
//! |---|---|---|
//! | `ExpectRequest` | a line | `Resting`, `Waiting`, or `ExpectRequest` again with the end of the answer |
//! | `Resting` | what was said has left | the job goes on |
//! | `Waiting` | what it asked for | the job goes on |
//! | `Ended` | | nothing is taken any more |
//!
//! Who has said that nothing more will come is answered to the end, and is `Ended` then. Of who has left, nothing is begun
//! any more ([`Client::leave`]): whoever waited has given up, and counts on it.

use zeroize::Zeroize as _;

use super::answer::Answer;
use super::command::{Command, Does};
use super::job::{Event, Job, Next};
use super::request::{Refusal, Request};
use super::view::{Ask, Facts, View};
use crate::config::{Config, LogSink};
use crate::router::Router;
use crate::store::Store;
use crate::xmpp::{Now, Random};

/// Who connected, by the word of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process.
    pub pid: i32,
}

/// What a client's talk is lent with each input.
pub struct Lent<'a> {
    /// The moment of this tick.
    pub now: Now,
    /// Dice.
    pub random: &'a mut dyn Random,
    /// All that is kept.
    pub store: &'a mut Store,
    /// The router.
    pub router: &'a mut Router,
    /// The configuration in force.
    pub config: &'a std::sync::Arc<Config>,
    /// What only the server knows.
    pub facts: &'a dyn Facts,
}

enum State {
    ExpectRequest,
    Resting(Box<dyn Job>),
    Waiting(Box<dyn Job>),
    Ended,
}

/// One client.
pub struct Client {
    peer: Peer,
    state: State,
    /// What came and is not yet read: less than a line, or what comes after the command at hand.
    input: Vec<u8>,
    /// Nothing more will come.
    is_silent: bool,
    answer: Answer,
    said: String,
    asks: Vec<Ask>,
    /// The command at hand, for the log.
    command: Option<(&'static Command, String)>,
}

impl Client {
    /// A client that has just connected.
    pub fn new(peer: Peer) -> Client {
        Client {
            peer,
            state: State::ExpectRequest,
            input: Vec::new(),
            is_silent: false,
            answer: Answer::default(),
            said: String::new(),
            asks: Vec::new(),
            command: None,
        }
    }

    /// Who it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Must it say something, or read something, for the talk to go on?
    pub fn is_awaited(&self) -> bool {
        !matches!(self.state, State::Waiting(_))
    }

    /// Is no command under way?
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::ExpectRequest)
    }

    /// Is nothing more to be said to it?
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Does the job at hand want to go on when what was said has left?
    pub fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting(_))
    }

    /// What is to be said to it.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.answer.take()
    }

    /// What it asked of the floors above.
    pub fn take_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// Bytes came.
    pub fn push(&mut self, lent: &mut Lent<'_>, bytes: &[u8]) {
        if self.is_ended() {
            return;
        }
        let most = lent.config.limits.control_line_bytes_max;
        if self.input.len().saturating_add(bytes.len()) > most.saturating_mul(2) {
            return self.fail(&Refusal::usage(format!("more than {most} bytes in one line")));
        }
        self.input.extend_from_slice(bytes);
        self.read_lines(lent);
    }

    /// Nothing more will come; what came is answered.
    pub fn end_input(&mut self) {
        self.is_silent = true;
        self.end_if_silent();
    }

    fn end_if_silent(&mut self) {
        if !self.is_silent || !self.is_idle() {
            return;
        }
        if self.input.is_empty() {
            self.state = State::Ended;
        } else {
            let fault = Refusal::usage("the last line has no end, so it is not obeyed");
            self.fail(&fault.remedy("end each request with a line feed"));
        }
    }

    /// It has left, `unheard` if that was before what it sent was read. What was not begun is not done, and the log says so:
    /// somebody may look for it there.
    pub fn leave(mut self, unheard: Option<&str>) {
        let Peer { uid, pid, .. } = self.peer;
        if let Some((_, told)) = self.command.as_ref().filter(|(command, _)| command.changes) {
            log::info!(target: LogSink::INTERNAL, "control: uid={uid} pid={pid}: {told}: its client left before the end");
        }
        if let Some(why) = unheard.or_else(|| self.input.contains(&b'\n').then_some("it left before its turn came")) {
            log::info!(target: LogSink::INTERNAL, "control: uid={uid} pid={pid}: {why}, so it is not done");
        }
        self.input.zeroize();
    }

    /// What a job waits for has happened.
    pub fn hear(&mut self, lent: &mut Lent<'_>, event: Event) {
        match (std::mem::replace(&mut self.state, State::Ended), event) {
            (State::Resting(job), Event::GoOn) => self.step(lent, job, Event::GoOn),
            (State::Waiting(job), event) if !matches!(event, Event::GoOn) => self.step(lent, job, event),
            (state, _) => self.state = state,
        }
        self.read_lines(lent);
        self.end_if_silent();
    }

    /// The talk ends for a reason of ours.
    pub fn fail(&mut self, refusal: &Refusal) {
        if !self.is_ended() {
            self.state = State::Ended;
            self.answer.refuse(refusal);
            self.input.zeroize();
        }
    }

    /// Takes lines as long as one can be taken.
    fn read_lines(&mut self, lent: &mut Lent<'_>) {
        while self.is_idle() {
            let most = lent.config.limits.control_line_bytes_max;
            let Some(end) = memchr::memchr(b'\n', &self.input) else {
                if self.input.len() > most {
                    self.fail(&Refusal::usage(format!("more than {most} bytes in one line")));
                }
                return;
            };
            if end > most {
                return self.fail(&Refusal::usage(format!("more than {most} bytes in one line")));
            }
            let rest = self.input.split_off(end.saturating_add(1));
            let mut line = std::mem::replace(&mut self.input, rest);
            line.truncate(end);
            self.request(lent, &line);
            // There may have been a password in it.
            line.zeroize();
        }
    }

    fn request(&mut self, lent: &mut Lent<'_>, line: &[u8]) {
        let (command, request) = match Request::parse(line, lent.config, super::find) {
            Ok(parsed) => parsed,
            Err(refusal) => {
                log::debug!(target: LogSink::INTERNAL, "control: uid={} pid={}: {refusal}", self.peer.uid, self.peer.pid);
                return self.finish(Err(refusal));
            }
        };
        let told = request.for_log(command);
        let (uid, pid) = (self.peer.uid, self.peer.pid);
        match command.changes {
            true => log::info!(target: LogSink::INTERNAL, "control: uid={uid} pid={pid}: {told}"),
            false => log::debug!(target: LogSink::INTERNAL, "control: uid={uid} pid={pid}: {told}"),
        }
        self.command = Some((command, told));
        let Does::Server(does) = command.does else {
            return self.finish(Err(Refusal::usage(format!("{} is done by jabberctl itself", command.name))));
        };
        self.run(lent, |view| does(view, &request));
    }

    fn step(&mut self, lent: &mut Lent<'_>, job: Box<dyn Job>, event: Event) {
        self.run(lent, |view| job.step(view, event));
    }

    /// Runs one step in a savepoint: one that fails leaves no half-done writes, and says nothing but why.
    fn run(&mut self, lent: &mut Lent<'_>, work: impl FnOnce(&mut View<'_>) -> Result<Next, Refusal>) {
        let before = self.answer.len();
        let Lent { now, random, store, router, config, facts } = lent;
        let (answer, said, asks) = (&mut self.answer, &mut self.said, &mut self.asks);
        let next = store.savepoint(|store| {
            work(&mut View {
                now: *now,
                random: &mut **random,
                store,
                router,
                config,
                facts: *facts,
                answer,
                said,
                asks,
            })
        });
        match next {
            Ok(Next::Done) => self.finish(Ok(())),
            Ok(Next::Failed(refusal)) => self.finish(Err(refusal)),
            Ok(Next::More(job)) => self.state = State::Resting(job),
            Ok(Next::Wait(job)) => self.state = State::Waiting(job),
            Err(refusal) => {
                self.answer.truncate(before);
                self.asks.clear();
                self.finish(Err(refusal));
            }
        }
    }

    /// The last line of an answer; the next request may come.
    fn finish(&mut self, result: Result<(), Refusal>) {
        let said = std::mem::take(&mut self.said);
        match (result, self.command.take()) {
            (Ok(()), _) => self.answer.done(&said),
            (Err(refusal), None) => self.answer.refuse(&refusal),
            (Err(refusal), Some((command, told))) => {
                if command.changes {
                    log::info!(target: LogSink::INTERNAL, "control: {told}: not done: {}", refusal.cause());
                }
                self.answer.refuse(&refusal.of(command));
            }
        }
        self.state = State::ExpectRequest;
    }
}
