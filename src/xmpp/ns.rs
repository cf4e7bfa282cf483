//! Namespaces, one line each, by the document that registers them.

/// RFC 6120 §4.8.2: stanzas of clients; inside the server, of everybody.
pub const CLIENT: &str = "jabber:client";
/// RFC 6120 §4.8.2: stanzas between servers.
pub const SERVER: &str = "jabber:server";
/// XEP-0114 §3: stanzas of components.
pub const COMPONENT_ACCEPT: &str = "jabber:component:accept";
/// RFC 6120 §4.8.1: the stream itself.
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// RFC 6120 §4.9: stream error conditions.
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// RFC 6120 §8.3: stanza error conditions.
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// RFC 6120 §5: STARTTLS.
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// RFC 6120 §6: SASL.
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// XEP-0440: the channel-binding types that a server supports.
pub const SASL_CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// RFC 6120 §7: resource binding.
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// RFC 3921 §3: the session of older clients, a no-operation today.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// XEP-0220 §2: dialback between servers.
pub const DIALBACK: &str = "jabber:server:dialback";
/// XEP-0220 §2.4.2: dialback as a stream feature.
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// XEP-0198 §3: stream management.
pub const SM: &str = "urn:xmpp:sm:3";
/// XEP-0288 §2: both directions on one stream between servers.
pub const BIDI: &str = "urn:xmpp:bidi";
/// XEP-0288 §2: its stream feature.
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// RFC 6121 §2: the roster.
pub const ROSTER: &str = "jabber:iq:roster";
/// RFC 6121 §2.6.1: roster versioning, as a stream feature.
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// RFC 6121 §3.4: pre-approved subscriptions, as a stream feature.
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
/// XEP-0078: login before SASL.
pub const IQ_AUTH: &str = "jabber:iq:auth";
/// XEP-0078 §4: its stream feature.
pub const IQ_AUTH_FEATURE: &str = "http://jabber.org/features/iq-auth";
/// XEP-0077: in-band registration.
pub const REGISTER: &str = "jabber:iq:register";
/// XEP-0077 §8: its stream feature.
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// XEP-0030 §3: what an entity is and can do.
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// XEP-0030 §4: what items an entity has.
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// The node of the host that lists its sessions, in jabberd 1.6's words.
pub const ONLINE_SESSIONS: &str = "online sessions";
/// XEP-0157 §3: whom to turn to.
pub const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";
/// XEP-0011: browsing, the lists of services before XEP-0030.
pub const BROWSE: &str = "jabber:iq:browse";
/// XEP-0094: the list of services before XEP-0011.
pub const AGENTS: &str = "jabber:iq:agents";
/// What the host is, before XEP-0011.
pub const AGENT: &str = "jabber:iq:agent";
/// What jabberd 1.4 told its admins.
pub const IQ_ADMIN: &str = "jabber:iq:admin";
/// The counters of a session in such an answer.
pub const ADMIN_WHO: &str = "jabber:mod_admin:who";
/// What a gateway calls the names of its users.
pub const GATEWAY: &str = "jabber:iq:gateway";
/// XEP-0071: messages with markup.
pub const XHTML_IM: &str = "http://jabber.org/protocol/xhtml-im";
/// XEP-0092: software version.
pub const VERSION: &str = "jabber:iq:version";
/// XEP-0199: ping.
pub const PING: &str = "urn:xmpp:ping";
/// XEP-0202: entity time.
pub const TIME: &str = "urn:xmpp:time";
/// XEP-0090: the time of older clients.
pub const LEGACY_TIME: &str = "jabber:iq:time";
/// XEP-0012: last activity.
pub const LAST: &str = "jabber:iq:last";
/// XEP-0054: vCards.
pub const VCARD: &str = "vcard-temp";
/// XEP-0049: private XML.
pub const PRIVATE: &str = "jabber:iq:private";
/// XEP-0016 §2: privacy lists.
pub const PRIVACY: &str = "jabber:iq:privacy";
/// jabberd 1.4's rules for messages.
pub const FILTER: &str = "jabber:iq:filter";
/// XEP-0191 §3: the blocking command.
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// XEP-0191 §3.3: its own error.
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// XEP-0377 §4: why somebody is blocked.
pub const REPORTING: &str = "urn:xmpp:reporting:1";
/// XEP-0186 §3: the invisible command.
pub const INVISIBLE: &str = "urn:xmpp:invisible:1";
/// XEP-0203: delayed delivery.
pub const DELAY: &str = "urn:xmpp:delay";
/// XEP-0091: the delay stamp of older clients.
pub const LEGACY_DELAY: &str = "jabber:x:delay";
/// XEP-0004: data forms.
pub const DATA_FORMS: &str = "jabber:x:data";
/// XEP-0122 §3: how the value of a form's field is checked.
pub const FORM_VALIDATION: &str = "http://jabber.org/protocol/xdata-validate";
/// XEP-0055: search in a directory.
pub const SEARCH: &str = "jabber:iq:search";
/// XEP-0050 §1.2: ad-hoc commands.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0133 §7.1: forms of administration; its commands' nodes begin with it.
pub const SERVICE_ADMIN: &str = "http://jabber.org/protocol/admin";
/// XEP-0401 §8: the form that tells an invitation.
pub const INVITATION: &str = "urn:xmpp:invite#invitation";
/// XEP-0379 §3.4: a token that pre-authenticates a subscription, or with XEP-0445 a registration.
pub const PREAUTH: &str = "urn:xmpp:pars:0";
/// XEP-0445 §3: registration with a token, as a stream feature.
pub const REGISTER_TOKEN: &str = "urn:xmpp:ibr-token:0";
/// The same, as clients call it that knew it before XEP-0445.
pub const REGISTER_INVITED: &str = "urn:xmpp:invite";
/// XEP-0065: SOCKS5 bytestreams.
pub const BYTESTREAMS: &str = "http://jabber.org/protocol/bytestreams";
/// XEP-0066: out-of-band data.
pub const OOB: &str = "jabber:x:oob";
/// XEP-0085: chat states.
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// XEP-0022: message events of older clients.
pub const EVENT: &str = "jabber:x:event";
/// XEP-0023: messages that are worth nothing after a time.
pub const EXPIRE: &str = "jabber:x:expire";
/// XEP-0013: messages that wait, looked through and fetched one by one.
pub const OFFLINE: &str = "http://jabber.org/protocol/offline";
/// XEP-0334: processing hints.
pub const HINTS: &str = "urn:xmpp:hints";
/// XEP-0160 §4: offline storage, as a disco feature.
pub const MSGOFFLINE: &str = "msgoffline";
/// The namespace that the prefix `xml` is bound to.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
