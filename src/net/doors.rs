//! The open ports, and who comes in by them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Bounds;
use super::gate::Gate;
use super::listener::{Accepted, Listener, Opened, Reserve};
use crate::config::{Config, Listener as Wanted, ListenerKind};
use crate::xmpp::Now;

/// All ports, and what is remembered of those who come.
pub(super) struct Doors {
    listeners: Vec<Listener>,
    reserve: Reserve,
    gate: Gate,
    first_token: usize,
}

impl Doors {
    /// The ports, registered with tokens from `first_token` on.
    pub(super) fn new(
        ports: Vec<Opened>,
        config: &Config,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<Self> {
        let mut listeners: Vec<Listener> = ports.into_iter().map(Listener::new).collect();
        for (place, listener) in listeners.iter_mut().enumerate() {
            registry.register(&mut listener.socket, Token(first_token + place), Interest::READABLE)?;
        }
        Ok(Doors { listeners, reserve: Reserve::new(), gate: Gate::new(config), first_token })
    }

    /// How many there are, for the tokens behind theirs.
    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Takes note of what the kernel told about a port; false if it is none of ours.
    pub(super) fn note(&mut self, token: Token) -> bool {
        let place = token.0.checked_sub(self.first_token);
        match place.and_then(|place| self.listeners.get_mut(place)) {
            Some(listener) => {
                listener.ready = true;
                true
            }
            None => false,
        }
    }

    /// Takes over what a new configuration says of the ports and of who may come in.
    pub(super) fn reload(&mut self, config: &Config) {
        self.gate.reload(config);
        self.listeners.iter_mut().for_each(|listener| listener.renew(&config.listeners));
    }

    /// Who connects from now on is refused, not kept waiting.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
    }

    /// May somebody wait who can be let in now?
    pub(super) fn has_work(&self, now_millis: u64) -> bool {
        !self.reserve.is_pausing(now_millis) && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When the pause after descriptors ran out ends, if there is one.
    pub(super) fn pause_end(&self, now_millis: u64) -> Option<u64> {
        self.reserve.pause_end(now_millis)
    }

    /// Lets in who waits, `open` being in already.
    pub(super) fn accept(
        &mut self,
        now: Now,
        mut open: usize,
        bounds: &Bounds,
        mut take: impl FnMut(TcpStream, &Arc<Wanted>, SocketAddr) -> bool,
    ) {
        if !self.has_work(now.monotonic_millis) {
            return;
        }
        let most = bounds.connections;
        if open >= most {
            return self.reserve.complain(
                now.monotonic_millis,
                format_args!("{most} are open; raise connections-max, or the limit of open files (LimitNOFILE)"),
            );
        }
        for listener in &mut self.listeners {
            let is_metrics = listener.wanted.kind == ListenerKind::Metrics;
            for _ in 0..if is_metrics { bounds.watcher_accepts } else { bounds.accepts } {
                if !listener.ready || open >= most {
                    break;
                }
                let (stream, peer) = match listener.accept() {
                    Accepted::Peer(stream, peer) => (stream, peer),
                    Accepted::Nobody => break,
                    Accepted::Lost => continue,
                    Accepted::Full(error) => {
                        self.reserve.shed(now.monotonic_millis, &listener.socket, &error);
                        return;
                    }
                };
                let wanted = &listener.wanted;
                if self.gate.admits(peer.ip(), wanted.port, wanted.rate, now) && take(stream, wanted, peer) {
                    open = open.saturating_add(1);
                }
            }
        }
    }
}
