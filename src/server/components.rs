//! Components' connections: those that came to us, those that we open, and what becomes of them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::connections::{Connection, Talk};
use super::metrics::{Side, how_lost};
use super::{ConnectionId, Output, Server, Timer};
use crate::config::components::{Connect, Link};
use crate::stream::Env;
use crate::stream::component::{Action, Component};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Now, StreamError};

/// What is known of the components that we connect to (`<connect>`).
#[derive(Default)]
pub struct Calls {
    /// The connection to each, open or on its way.
    under_way: HashMap<String, ConnectionId>,
    /// Those to whom an attempt is due by a timer.
    planned: BTreeMap<String, u64>,
    /// Attempts that failed since the last that did not.
    failures: HashMap<String, u32>,
    /// What was last said in the log about one that failed.
    told: HashMap<String, String>,
}

impl Server {
    /// Sees to it that all components of `<connect>` are connected to.
    pub(super) fn call_components(&mut self, now: Now) {
        let wanted = self.config.components.iter().filter(|component| matches!(component.link, Link::Connect(_)));
        let ids: Vec<String> = wanted.map(|component| component.id.clone()).collect();
        for id in ids {
            if !self.calls.under_way.contains_key(&id) && !self.calls.planned.contains_key(&id) {
                self.plan_call(&id, now.monotonic_millis);
            }
        }
    }

    fn plan_call(&mut self, id: &str, at_millis: u64) {
        self.calls.planned.insert(id.to_string(), at_millis);
        self.timers.set(at_millis, Timer::Call(id.into()));
    }

    /// Another configuration: components that are not in it any more go, new ones are connected to.
    pub(super) fn reload_components(&mut self, now: Now) {
        let mut orphans = Vec::new();
        for (id, connection) in &self.connections {
            let component = match &connection.talk {
                Talk::Component(stream) => stream.id(),
                Talk::Calling(component) => component,
                _ => continue,
            };
            if !self.config.component(component).is_some_and(crate::config::Component::is_process) {
                orphans.push(*id);
            }
        }
        for id in orphans {
            self.close(
                now,
                id,
                StreamError::new(StreamCondition::HostGone, "this component is not configured any more"),
            );
        }
        self.calls.failures.clear();
        self.call_components(now);
    }

    fn connect_of(&self, id: &str) -> Option<&Connect> {
        match &self.config.component(id)?.link {
            Link::Connect(connect) => Some(connect),
            _ => None,
        }
    }

    /// A component is to be connected to.
    pub(super) fn call(&mut self, now: Now, component: &str) {
        let is_due = self.calls.planned.get(component).is_some_and(|at| *at <= now.monotonic_millis);
        if !is_due || self.is_stopping {
            return;
        }
        self.calls.planned.remove(component);
        let Some(connect) = self.connect_of(component) else { return };
        let address = SocketAddr::new(connect.address, connect.port);
        let until = now.monotonic_millis.saturating_add(connect.timeout_seconds.max(1).saturating_mul(1000));
        let id = self.next_outgoing();
        self.calls.under_way.insert(component.to_string(), id);
        let connection = Connection::new(Talk::Calling(component.to_string()), address, now.monotonic_millis);
        self.connections.insert(id, connection);
        self.timers.set(until, Timer::Login(id));
        self.outputs.push(Output::Connect { id, addresses: vec![address], tls: None });
    }

    /// The connection to a component is open.
    pub(super) fn called(&mut self, now: Now, id: ConnectionId, peer: SocketAddr) {
        let Some(Talk::Calling(component)) = self.connections.get(&id).map(|connection| &connection.talk) else {
            return;
        };
        self.metrics.opened(Side::Component);
        let stream = Component::connected(&stream_env!(self, now, false), component, peer.ip());
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.talk = Talk::Component(Box::new(stream));
            connection.touch(id, &mut self.touched);
        }
    }

    /// Does something to a component's stream, then all that it asks for.
    pub(super) fn with_component(
        &mut self,
        now: Now,
        id: ConnectionId,
        change: impl FnOnce(&mut Component, &mut Env<'_>),
    ) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Component(stream) = &mut connection.talk else { return };
            let mut env = stream_env!(self, now, false);
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return self.settle_hearing(id) };
            let component = stream.id().to_string();
            self.act_component(now, id, &component, action);
        }
    }

    fn act_component(&mut self, now: Now, id: ConnectionId, component: &str, action: Action) {
        match action {
            Action::Ready => self.component_ready(now, id, component),
            Action::Refused => {
                if let Some(connection) = self.connections.get(&id) {
                    let address = connection.peer.ip();
                    self.addresses.login_failed(address, &self.config.limits, now.monotonic_millis);
                }
            }
            Action::Stanza(stanza) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stanzas = connection.stanzas.saturating_add(1);
                    self.metrics.stanza(Side::Component, false, &stanza);
                }
                // What others brought about is not this component's.
                self.router.take_spent();
                let mut env = router_env!(self, now);
                self.router.from_component(&mut env, stanza);
                self.flush_router(now);
                self.charge(now, id);
            }
            Action::Close(why) => {
                // Who did not get in is told of already.
                if self.connections.get(&id).is_some_and(|connection| connection.counted_as_logged_in) {
                    log::info!(target: component, strangers = "streams of components that end", by = component;
                        "component's stream ends: {why}");
                }
                self.end_connection(id);
                self.component_away(now, id, component, &why);
            }
        }
    }

    /// A component has proved that it knows the secret. It takes the place of the one before: who restarts a transport
    /// relies on that.
    fn component_ready(&mut self, now: Now, id: ConnectionId, component: &str) {
        self.calls.failures.remove(component);
        self.calls.told.remove(component);
        self.known(id);
        let Some(address) = self.connections.get(&id).map(|connection| connection.peer.ip()) else { return };
        log::info!(target: component, strangers = "components that connect", by = component;
            "component connected: {address}");
        let mut env = router_env!(self, now);
        let replaced = self.router.component_ready(&mut env, component, id);
        self.flush_router(now);
        if let Some(old) = replaced {
            // 1.4's words, which people grep for.
            log::warn!(target: component, strangers = "components that are replaced", by = component;
                "Socket override by another connection from {address}");
            let error = StreamError::new(StreamCondition::Conflict, "Socket override by another connection.");
            self.with_component(now, old, |stream, env| stream.fail(env, &error));
        }
    }

    /// A component's connection is gone.
    pub(super) fn component_gone(&mut self, now: Now, id: ConnectionId, connection: &Connection, reason: &str) {
        let component = match &connection.talk {
            Talk::Component(stream) => {
                self.metrics.closed(Side::Component, if connection.is_closing { "ended" } else { how_lost(reason) });
                if stream.is_open() {
                    log::info!(target: stream.id(), strangers = "components that go", by = stream.id();
                        "component's connection is gone: {reason}");
                }
                stream.id()
            }
            Talk::Calling(component) => component,
            _ => return,
        };
        self.component_away(now, id, component, reason);
    }

    /// What is for a component that hears nothing any more waits for the next one, though this one is heard still.
    pub(super) fn component_hears_nothing(&mut self, now: Now, id: ConnectionId) {
        if let Some(Talk::Component(stream)) = self.connections.get(&id).map(|connection| &connection.talk) {
            let component = stream.id().to_string();
            self.component_away(now, id, &component, "it is gone");
        }
    }

    /// Nothing goes by this connection any more; if it was ours, the next attempt is planned.
    fn component_away(&mut self, now: Now, id: ConnectionId, component: &str, why: &str) {
        let env = router_env!(self, now);
        self.router.component_gone(&env, component, id);
        self.flush_router(now);
        if self.calls.under_way.get(component) != Some(&id) {
            return;
        }
        self.calls.under_way.remove(component);
        let Some(connect) = self.connect_of(component) else { return };
        let (retry, tries) = (connect.retry_seconds(), connect.tries);
        let failures = self.calls.failures.entry(component.to_string()).or_default();
        *failures = failures.saturating_add(1);
        if tries.is_some_and(|tries| *failures >= tries) {
            // 1.4 ended the whole process here.
            return log::warn!(target: component, "given up after {failures} attempts (<tries>): {why}; SIGHUP tries again");
        }
        if self.calls.told.get(component).is_none_or(|told| told != why) {
            log::warn!(target: component, "no connection to the component: {why}; tried again every {retry} s");
            self.calls.told.insert(component.to_string(), why.to_string());
        }
        self.plan_call(component, now.monotonic_millis.saturating_add(retry.saturating_mul(1000)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Source};
    use crate::server::Input;
    use crate::store::Store;
    use crate::xmpp::random::NoDice;

    /// A server that connects to `users.xmpp.test`, and the other end.
    struct Bench {
        server: Server,
        now: Now,
        link: Option<ConnectionId>,
    }

    fn config(tries: &str, secret: &str) -> Arc<Config> {
        let text = format!(
            "<jabber><service id='sessions'><host>xmpp.test</host><jsm xmlns='jabber:config:jsm'/></service>\
             <service id='users.xmpp.test'><connect><ip>127.0.0.1</ip><port>5349</port><secret>{secret}</secret>\
             <timeout>5</timeout><tries>{tries}</tries></connect></service></jabber>"
        );
        Arc::new(Config::from_xml(&text, &Source::new("test.xml")).unwrap())
    }

    impl Bench {
        fn new(tries: &str) -> Bench {
            let now = Now { unix_millis: 1_000_000, monotonic_millis: 1_000 };
            let store = Store::in_memory().unwrap();
            let server = Server::new(config(tries, "jud-secret"), store, Box::new(NoDice), now).unwrap();
            Bench { server, now, link: None }
        }

        fn input(&mut self, input: Input<'_>) -> String {
            self.server.handle(self.now, input);
            self.server.commit().unwrap();
            let mut text = String::new();
            for output in self.server.take_outputs() {
                match output {
                    Output::Bytes { bytes, .. } => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                    Output::Connect { id, addresses, tls } => {
                        assert!(tls.is_none() && addresses == ["127.0.0.1:5349".parse().unwrap()]);
                        self.link = Some(id);
                        text.push_str("(connect)");
                    }
                    Output::Close { id } => {
                        text.push_str("(close)");
                        self.server.handle(self.now, Input::Gone { id, reason: "closed" });
                    }
                    _ => {}
                }
            }
            text
        }

        fn wait(&mut self, seconds: u64) -> String {
            self.now.monotonic_millis += seconds * 1000;
            self.input(Input::Timeout)
        }

        fn gone(&mut self, reason: &str) -> String {
            let id = self.link.take().unwrap();
            self.input(Input::Gone { id, reason })
        }

        fn connected(&mut self) -> String {
            let (id, peer) = (self.link.unwrap(), "127.0.0.1:5349".parse().unwrap());
            self.input(Input::Connected { id, peer })
        }

        fn says(&mut self, text: &str) -> String {
            let id = self.link.unwrap();
            self.input(Input::Bytes { id, bytes: text.as_bytes() })
        }
    }

    const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
                          xmlns:stream='http://etherx.jabber.org/streams' id='A1B2' from='users.xmpp.test'>";

    /// As jabberd 1.4.4 does it.
    #[test]
    fn a_component_is_connected_to() {
        let mut bench = Bench::new("-1");
        assert_eq!(bench.input(Input::Timeout), "(connect)");
        assert_eq!(
            bench.connected(),
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' to='users.xmpp.test'>"
        );
        assert_eq!(bench.says(HEADER), "<handshake>0a43a797145ccc8d3298cd2e7b8f62af59465a12</handshake>");
        assert!(!bench.server.router().component_is_here("users.xmpp.test"));
        assert_eq!(bench.says("<handshake/>"), "");
        assert!(bench.server.router().component_is_here("users.xmpp.test"));
        let ping = "<iq type='get' from='users.xmpp.test' to='xmpp.test' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
        assert!(bench.says(ping).starts_with("<iq type='result' id='1'"));
        // It goes away, and is looked for again after timeout + 2 seconds.
        assert_eq!(bench.gone("reset"), "");
        assert!(!bench.server.router().component_is_here("users.xmpp.test"));
        assert_eq!((bench.wait(6).as_str(), bench.wait(1).as_str()), ("", "(connect)"));
        // An attempt has `timeout` seconds.
        assert_eq!((bench.wait(4).as_str(), bench.wait(1).as_str()), ("", "(close)"));
        assert_eq!((bench.wait(6).as_str(), bench.wait(1).as_str()), ("", "(connect)"));
    }

    #[test]
    fn a_component_that_refuses_is_asked_again() {
        let mut bench = Bench::new("-1");
        bench.input(Input::Timeout);
        bench.connected();
        bench.says(HEADER);
        let refusal = bench.says("<stream:error>Invalid handshake</stream:error>");
        assert_eq!(refusal, "</stream:stream>(close)");
        assert_eq!(bench.wait(7), "(connect)");
        bench.connected();
        // Stanzas before the handshake's end are no consent.
        bench.says(HEADER);
        let early = bench.says("<message from='users.xmpp.test' to='xmpp.test'/>");
        assert!(early.contains("<not-authorized") && early.ends_with("(close)"), "{early}");
        assert_eq!(bench.wait(7), "(connect)");
    }

    #[test]
    fn attempts_may_be_counted_and_a_reload_begins_anew() {
        let mut bench = Bench::new("2");
        for _ in 0..2 {
            assert_eq!(bench.wait(7), "(connect)");
            bench.gone("refused");
        }
        // 1.4 ended the whole process here (defect 14).
        assert_eq!(bench.wait(700), "");
        assert_eq!(bench.input(Input::Reload(config("2", "other"))), "(connect)");
        let without = Arc::new(Config::for_host("xmpp.test"));
        assert_eq!(bench.input(Input::Reload(without)), "(close)");
        assert_eq!(bench.wait(700), "");
    }
}
