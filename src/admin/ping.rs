//! `ping`: tries the way to another server, and tells what happened at each step.

use std::time::Duration;

use serde_json::json;

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::{Event, Job, Next, Step};
use super::request::{Refusal, Request};
use super::view::{Ask, View};
use crate::stream::dialback::Pair;
use crate::xml::Element;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{IqType, Jid, Stanza, jid, ns};

/// How long the way may take, with all places that are tried, and then the answer.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(30));

/// `ping`.
pub const PING: Command = Command {
    name: "ping",
    arguments: &[
        Argument::needed("domain", Kind::Domain, "the other server's domain"),
        Argument::option("from", Kind::Host, "the host that asks; without, the first of jabber.xml"),
    ],
    summary: "try the way to another server, and tell what happens at each step",
    details: "Blocks, DNS, connection, TLS and certificate, the proof of who we are, and an answer to a ping (XEP-0199), \
              each with the time it took. A stream that is open is used; without one a new one is opened, even if the \
              last try failed a moment ago.",
    examples: &[("jabberctl ping jabber.org", "why do messages to juliet@jabber.org not arrive?")],
    shows: Shows::Table(&[
        Column::text("step", "Step"),
        Column::text("result", "Result"),
        Column::of("millis", "After", Unit::Millis),
        Column::text("text", "What"),
        Column::text("remedy", "Remedy"),
    ]),
    does: Does::Server(ping),
    ..Command::NONE
};

fn ping(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let domain = request.domain("domain")?;
    let from = match request.has("from") {
        true => request.domain("from")?,
        false => view.config.hosts.first().map(|host| host.name.clone()).unwrap_or_default(),
    };
    if view.config.is_own(&domain) {
        return Err(Refusal::refused(format!("{domain} is served here, so there is no way to try"))
            .remedy("name a domain of another server; jabberctl check looks after our own"));
    }
    let way = Way { pair: Pair { from, to: domain.clone() }, began_millis: view.now.monotonic_millis };
    if let Some(block) = view.router.blocked(&domain) {
        let above =
            if block.domain == domain { String::new() } else { format!(" ({} with all below it)", block.domain) };
        way.row(
            view,
            "block",
            "failed",
            format!("{domain} is blocked here{above}"),
            "jabberctl unblock, or jabber.xml",
        );
        return Ok(Next::Failed(Refusal::failed(format!("{domain} is blocked")).remedy("see jabberctl blocks")));
    }
    way.row(view, "block", "ok", format!("{domain} is not blocked"), "");
    if view.config.federation.is_none() {
        way.row(view, "config", "failed", "jabber.xml has no <dialback>".to_owned(), "add <dialback> and <dnsrv>");
        return Ok(Next::Failed(
            Refusal::failed("this server is an island").remedy("add <dialback> and <dnsrv>, see jabber.xml(5)"),
        ));
    }
    if view.router.link_is_open(&way.pair) {
        way.row(view, "stream", "ok", format!("a stream to {domain} is open; jabberctl s2s {domain} shows it"), "");
        return way.ask(view);
    }
    view.ask(Ask::Reach(way.pair.clone()));
    view.ask(Ask::WakeAfter(PATIENCE.0));
    let until_millis = view.now.after(PATIENCE.0);
    Ok(Next::Wait(Box::new(Reaching { way, until_millis, fault: None })))
}

/// Which way, and since when it is tried.
struct Way {
    pair: Pair,
    began_millis: u64,
}

impl Way {
    fn row(&self, view: &mut View<'_>, step: &str, result: &str, text: String, remedy: &str) {
        let millis = view.now.monotonic_millis.saturating_sub(self.began_millis);
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        view.answer.row(json!({ "step": step, "result": result, "millis": millis, "text": text, "remedy": remedy }));
    }

    /// XEP-0199 §4.2: server to server.
    fn ask(self, view: &mut View<'_>) -> Result<Next, Refusal> {
        let (Some(from), Ok(to)) = (jid::of_host(&self.pair.from), Jid::new(&self.pair.to)) else {
            return Err(
                Refusal::failed("the domains are no addresses").remedy("name a domain as people write it after the @")
            );
        };
        let mut dice = [0; 8];
        view.random.fill(&mut dice);
        let id = format!("ping-{:016x}", u64::from_le_bytes(dice));
        let ping = Stanza::iq(IqType::Get, id, Some(Element::new("ping", ns::PING)));
        view.ask(Ask::Question(ping.with_from(from).with_to(to)));
        view.ask(Ask::WakeAfter(PATIENCE.1));
        let (asked_millis, until_millis) = (view.now.monotonic_millis, view.now.after(PATIENCE.1));
        Ok(Next::Wait(Box::new(Asking { way: self, asked_millis, until_millis })))
    }

    fn failed(&self, why: &str, remedy: String) -> Next {
        Next::Failed(Refusal::failed(format!("{} cannot be reached: {why}", self.pair.to)).remedy(remedy))
    }
}

struct Reaching {
    way: Way,
    until_millis: u64,
    /// What was wrong with the last place that was tried, and what to do about it: that none is left is no cause.
    fault: Option<(String, String)>,
}

impl Job for Reaching {
    fn step(mut self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        match event {
            Event::Traced(Step { name, text, is_fine, is_last }) => {
                let result = match (is_fine, name) {
                    (true, _) => "ok",
                    // A certificate that proves nothing leaves the way open to dialback.
                    (false, "tls") if !is_last => "warning",
                    (false, _) => "failed",
                };
                let remedy = remedy(name, &text, &self.way.pair);
                let own = Some((text.clone(), remedy)).filter(|_| !is_fine);
                // "no other place is left" stands for the last one.
                let fault = self.fault.take().filter(|_| is_last && name == "connect").or(own);
                let told = fault.as_ref().map_or("", |(_, remedy)| remedy);
                self.way.row(view, name, result, text, told);
                match fault {
                    Some((why, remedy)) if is_last => Ok(self.way.failed(&why, remedy)),
                    None if is_last => self.way.ask(view),
                    fault => Ok(Next::Wait(Box::new(Reaching { fault, ..*self }))),
                }
            }
            Event::Woken if view.now.monotonic_millis >= self.until_millis => {
                let why = format!("not in {} seconds", PATIENCE.0.as_secs());
                Ok(self.way.failed(&why, remedy("connect", &why, &self.way.pair)))
            }
            _ => Ok(Next::Wait(self)),
        }
    }
}

/// What to do about a step that failed with these words.
pub fn remedy(step: &str, why: &str, pair: &Pair) -> String {
    let (from, to) = (&pair.from, &pair.to);
    let says = |words: &[&str]| words.iter().any(|words| why.contains(words));
    let place = why.split(": ").next().unwrap_or(to);
    let records = format!("host -t SRV _xmpp-server._tcp.{to}");
    match step {
        // RFC 6120 §4.9.3.6: whoever answered serves others.
        _ if says(&[StreamCondition::HostUnknown.name(), StreamCondition::HostGone.name()]) => {
            format!("that server does not serve {to}: see where its name leads: {records}")
        }
        _ if says(&["is blocked here"]) => "jabberctl blocks tells by what".to_owned(),
        "dns" if says(&["<dnsrv>"]) => "add a <dnsrv> to jabber.xml: see jabber.xml(5)".to_owned(),
        "dns" if says(&["DNS server", "DNS look-ups"]) => {
            "is our DNS well? see /etc/resolv.conf, and: host jabber.org".to_owned()
        }
        "dns" => format!("is the name right? see: {records}"),
        // Its stream said no, or we did; TLS comes after that.
        "connect" if says(&["<host tls="]) => {
            format!("its admin can mend that; or allow it here: <host name='{to}' tls=...> in jabber.xml(5)")
        }
        "connect" if says(&["TLS failed"]) => {
            format!(
                "its admin must see to its TLS; see it: openssl s_client -starttls xmpp-server -xmpphost {to} -connect {place}"
            )
        }
        "connect" if says(&["certificate"]) => certificate(to),
        "connect" if says(&["ended the stream"]) => {
            format!(
                "its admin knows why; if it does not believe that we are {from}: jabberctl check dns, check certificates"
            )
        }
        "connect" if says(&["refused"]) => {
            format!("nobody listens there: is that server up, and its port that of DNS? see: {records}")
        }
        "connect" if says(&["unreachable", "has no address"]) => {
            "has this machine a way to that address (IPv6)? see: ip route; ip -6 route".to_owned()
        }
        "connect" => "is that server up? does a firewall let us out to that port?".to_owned(),
        "tls" => certificate(to),
        "proof" => {
            format!("that server must be able to find and reach {from}: jabberctl check dns, and check ports")
        }
        _ => "the log says more; see also jabberctl s2s".to_owned(),
    }
}

/// jabber.xml(5), `host` in `dialback`: without a word there, dialback is enough.
fn certificate(to: &str) -> String {
    format!(
        "its certificate is its admin's matter; dialback will do, unless <host auth='sasl'> in jabber.xml is for {to}"
    )
}

struct Asking {
    way: Way,
    asked_millis: u64,
    until_millis: u64,
}

impl Job for Asking {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let domain = &self.way.pair.to;
        let answer = match event {
            Event::Answered(stanza) => stanza,
            Event::Woken if view.now.monotonic_millis >= self.until_millis => {
                let text = format!("{domain} did not answer in {} seconds", PATIENCE.1.as_secs());
                const REMEDY: &str = "the stream is open, so ask its admin";
                self.way.row(view, "ping", "failed", text, REMEDY);
                return Ok(self.way.failed("no answer", REMEDY.to_owned()));
            }
            _ => return Ok(Next::Wait(self)),
        };
        let took = view.now.monotonic_millis.saturating_sub(self.asked_millis);
        match condition(&answer) {
            Some(condition) if is_of_the_way(&condition) => {
                let text = format!("the ping came back: {condition}");
                let remedy = remedy("connect", &text, &self.way.pair);
                self.way.row(view, "ping", "failed", text.clone(), &remedy);
                Ok(self.way.failed(&text, remedy))
            }
            // XEP-0199 §4.1: an error shows as well that the other end is there.
            Some(condition) => {
                let text = format!("{domain} answered in {took} ms, though it knows no ping ({condition})");
                self.way.row(view, "ping", "ok", text, "");
                view.say(format!("{domain} is reached"));
                Ok(Next::Done)
            }
            None => {
                self.way.row(view, "ping", "ok", format!("{domain} answered in {took} ms"), "");
                view.say(format!("{domain} is reached"));
                Ok(Next::Done)
            }
        }
    }
}

/// The condition of an answer that is an error.
fn condition(answer: &Stanza) -> Option<String> {
    let error = answer.element().children().find(|child| child.name() == "error").filter(|_| answer.is_error())?;
    error.children().find(|child| child.ns() == ns::STANZA_ERRORS).map(|child| child.name().to_owned())
}

/// Did the way fail, not the other end?
fn is_of_the_way(condition: &str) -> bool {
    matches!(condition, "remote-server-not-found" | "remote-server-timeout" | "resource-constraint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_remedy() {
        let pair = Pair { from: "own.test".to_owned(), to: "far.test".to_owned() };
        for (step, why, says) in [
            ("connect", "a:5269: the other server ended the stream: host-unknown (x)", "does not serve far.test"),
            ("connect", "a:5269: the other server ended the stream: policy-violation", "its admin knows why"),
            (
                "connect",
                "a:5269: it does not offer TLS, and no <host tls='yes'/> allows that",
                "<host name='far.test' tls=...>",
            ),
            ("connect", "a:5269: TLS failed: no handshake in time", "-xmpphost far.test -connect a:5269"),
            ("connect", "a:5269: certificate expired on 2026-01-02", "its certificate is its admin's matter"),
            ("connect", "a:5269: Connection refused (os error 111)", "nobody listens there"),
            ("connect", "a:5269: Network is unreachable (os error 101)", "ip -6 route"),
            ("connect", "a:5269: connection timed out", "firewall"),
            ("dns", "jabber.xml has no <dnsrv>, so other servers are not looked up", "add a <dnsrv>"),
            ("dns", "the DNS server 127.0.0.53 did not answer", "/etc/resolv.conf"),
            ("dns", "far.test does not exist", "is the name right?"),
            ("dns", "it is blocked here", "jabberctl blocks"),
            ("tls", "TLSv1.3, X; its certificate proves nothing: certificate is self-signed", "<host auth='sasl'>"),
            ("proof", "dialback: it says that we are not who we say", "find and reach own.test"),
        ] {
            let told = remedy(step, why, &pair);
            assert!(told.contains(says), "{why}: {told}");
        }
    }
}
