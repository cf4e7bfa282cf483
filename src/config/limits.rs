//! Every bound on what comes from outside: name, default, the attack or failure that it stops, what happens at it.
//!
//! In jabber.xml they stand in `<limits xmlns='urn:jabber:config:3'>`, each as an element with the field's name and
//! hyphens: `<stanza-bytes-max>262144</stanza-bytes-max>`.

/// One bound, for the report, the man page and the check of values.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The name in jabber.xml.
    pub name: &'static str,
    /// The default.
    pub default: u64,
    /// The smallest value that leaves a working server.
    pub least: u64,
    /// What it stops, and what happens at it.
    pub doc: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident, $name:literal: $type:ty = $default:literal, at least $least:literal;)*) => {
        /// The bounds of this server.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($field: $default,)* }
            }
        }

        impl Limits {
            /// All bounds in the order of the man page.
            pub const ALL: &[Bound] = &[$(Bound {
                name: $name, default: $default, least: $least, doc: concat!($($doc),+),
            },)*];

            /// Sets the bound with this name of jabber.xml. `None` if there is none, or the value does not fit.
            pub fn set(&mut self, name: &str, value: u64) -> Option<()> {
                match name {
                    $($name => self.$field = <$type>::try_from(value).ok()?,)*
                    _ => return None,
                }
                Some(())
            }

            /// The value of the bound with this name of jabber.xml.
            pub fn value(&self, name: &str) -> Option<u64> {
                match name {
                    $($name => u64::try_from(self.$field).ok(),)*
                    _ => None,
                }
            }
        }
    };
}

limits! {
    /// Bytes of one stanza, so that nobody makes us hold a gigabyte for one element; and as many of the namespaces that are
    /// written for each of its elements. Outcome: stream error policy-violation. One that is longer once it is written for
    /// another server comes back with policy-violation.
    stanza_bytes_max, "stanza-bytes-max": usize = 262_144, at least 10_000;
    /// Bytes of one element before login (RFC 6120 §13.12 asks for at least 10000 for any stanza): strangers get little
    /// memory. Outcome: stream error policy-violation.
    unauthenticated_bytes_max, "unauthenticated-bytes-max": usize = 10_000, at least 2_000;
    /// All bytes that a peer may send before it is logged in, whitespace included: a stranger that never stops.
    /// Outcome: stream error policy-violation.
    unauthenticated_total_bytes_max, "unauthenticated-total-bytes-max": usize = 65_536, at least 20_000;
    /// Elements inside elements: deep nesting costs stack and time. Outcome: stream error policy-violation.
    stanza_depth_max, "stanza-depth-max": usize = 64, at least 16;
    /// Elements in one stanza: many tiny ones cost far more memory than their bytes.
    /// Outcome: stream error policy-violation.
    stanza_elements_max, "stanza-elements-max": usize = 10_000, at least 100;
    /// Attributes of one element: comparing each with each is slow. Outcome: stream error policy-violation.
    attributes_max, "attributes-max": usize = 64, at least 16;
    /// Bytes of a name of an element or attribute. Outcome: stream error policy-violation.
    name_bytes_max, "name-bytes-max": usize = 1_024, at least 64;
    /// Connections of one address at a time, logged in or not: one machine takes all descriptors.
    /// Clients and components on the machine itself are not bounded, for a TLS wrapper brings all people from there.
    /// Outcome: further ones are closed at once.
    connections_per_address_max, "connections-per-address-max": usize = 1_000, at least 1;
    /// Connections of one address that have not logged in yet; as many for clients, other servers, components and file
    /// transfers each, and clients and components on the machine itself without bound. Outcome: further ones are closed at once.
    unauthenticated_per_address_max, "unauthenticated-per-address-max": usize = 100, at least 1;
    /// Connections that ask for metrics, by the port and by the socket: a program that connects and says nothing would shut
    /// the others out. Outcome: the one that has said nothing for longest is closed for each further one.
    metrics_clients_max, "metrics-clients-max": usize = 32, at least 2;
    /// Seconds in which such a connection must ask something; a program that asks each minute keeps its own.
    /// Outcome: it is closed.
    metrics_seconds, "metrics-seconds": u64 = 150, at least 5;
    /// Connections of all addresses; the system's own limit on descriptors may be lower.
    /// Outcome: further ones wait in the kernel's queue.
    connections_max, "connections-max": usize = 200_000, at least 10;
    /// Resources of one account. Outcome: resource-constraint when binding one more (RFC 6120 §7.6.2.1).
    resources_per_account_max, "resources-per-account-max": usize = 20, at least 1;
    /// Bytes that wait to be sent to one connection: a client that stops reading.
    /// Outcome: its connection is closed with policy-violation. A quarter as many may wait behind stored messages that are
    /// on their way to it; beyond, what is for that client alone comes back with resource-constraint, and what is for all of
    /// the account overtakes them.
    output_bytes_max, "output-bytes-max": usize = 4_194_304, at least 65_536;
    /// Messages kept for one absent account. Outcome: the sender gets service-unavailable (RFC 6121 §8.5.2.2.1).
    offline_messages_max, "offline-messages-max": usize = 1_000, at least 0;
    /// Bytes of the messages kept for one absent account (1.4.4's sizelimit sets this, too).
    /// Outcome: the sender gets service-unavailable.
    offline_bytes_max, "offline-bytes-max": usize = 10_485_760, at least 0;
    /// Pairs of domains for which a stream to another server is remembered, open or failed.
    /// Outcome: resource-constraint to the sender.
    remote_links_max, "remote-links-max": usize = 20_000, at least 10;
    /// Stanzas that wait for a stream to one remote domain. Outcome: resource-constraint to the sender.
    remote_queue_stanzas_max, "remote-queue-stanzas-max": usize = 1_000, at least 1;
    /// Bytes of the stanzas that wait for a stream to one remote domain. Outcome: resource-constraint to the sender.
    /// Twice as many may be on their way there and not acknowledged; beyond, the stream ends.
    remote_queue_bytes_max, "remote-queue-bytes-max": usize = 4_194_304, at least 10_000;
    /// Bytes of the stanzas that wait for all remote domains together. Outcome: resource-constraint to the sender.
    remote_waiting_bytes_max, "remote-waiting-bytes-max": usize = 268_435_456, at least 10_000;
    /// Bytes of one sender's stanzas that wait for remote domains: a local account, a component, or all answers to others.
    /// Outcome: resource-constraint to the sender.
    remote_waiting_bytes_per_sender_max, "remote-waiting-bytes-per-sender-max": usize = 16_777_216, at least 10_000;
    /// Remote domains for which one sender's stanzas wait: one who writes to the whole world takes the others' places.
    /// Outcome: resource-constraint to the sender.
    remote_links_per_sender_max, "remote-links-per-sender-max": usize = 2_000, at least 1;
    /// Bytes of the stanzas for other servers and components that are written down, to outlive the process.
    /// Outcome: what comes then is lost if the process dies.
    remote_kept_bytes_max, "remote-kept-bytes-max": usize = 536_870_912, at least 0;
    /// Milliseconds until a stanza that another server has not acknowledged is written down; 0 writes each at once, and
    /// costs each a write to the disk. Outcome: a younger one may be lost if the process dies and the line breaks.
    acknowledge_millis, "acknowledge-millis": u64 = 1_000, at least 0;
    /// Other servers that are being connected to at a time; as many again if nobody has more than one of these.
    /// Outcome: further ones wait for their turn.
    dials_max, "dials-max": usize = 1_000, at least 1;
    /// Other servers that are being connected to at a time for one sender. Outcome: further ones wait for their turn.
    dials_per_sender_max, "dials-per-sender-max": usize = 100, at least 1;
    /// Domains that one address wants to be proved at a time: each costs a connection.
    /// Outcome: dialback error resource-constraint.
    proofs_per_address_max, "proofs-per-address-max": usize = 1_000, at least 1;
    /// Bytes of one stanza of a component, which brings its users pictures; no more than half of output-bytes-max.
    /// Outcome: it is skipped, with policy-violation to who waits for it. What goes to another server may have
    /// stanza-bytes-max.
    component_stanza_bytes_max, "component-stanza-bytes-max": usize = 1_048_576, at least 10_000;
    /// Stanzas that wait for one component that is away, or are kept for it (`<offline/>`).
    /// Outcome: resource-constraint to the sender.
    component_queue_stanzas_max, "component-queue-stanzas-max": usize = 10_000, at least 1;
    /// Bytes of the stanzas that wait for one component that is away, and as many that are kept for it; no more than half
    /// of output-bytes-max, since it gets all at once. Outcome: resource-constraint to the sender.
    component_queue_bytes_max, "component-queue-bytes-max": usize = 2_097_152, at least 10_000;
    /// Bytes that one component may keep here (`<xdb>` packets). What it asks for at a time may have half of
    /// output-bytes-max. Outcome: an error to the component.
    component_data_bytes_max, "component-data-bytes-max": usize = 268_435_456, at least 10_000;
    /// Items of one roster: each costs memory at every login and time at every presence.
    /// Outcome: resource-constraint to the client that adds one, silent refusal of subscriptions from outside.
    roster_items_max, "roster-items-max": usize = 2_000, at least 1;
    /// Bytes of a roster item's name. Outcome: not-acceptable.
    roster_name_bytes_max, "roster-name-bytes-max": usize = 1_024, at least 64;
    /// Groups of one roster item. Outcome: not-acceptable.
    roster_groups_max, "roster-groups-max": usize = 32, at least 1;
    /// Subscription requests that wait for one account: strangers fill its store.
    /// Outcome: further ones are dropped.
    pending_subscriptions_max, "pending-subscriptions-max": usize = 200, at least 1;
    /// Bytes of a subscription request that is kept until it is answered.
    /// Outcome: a longer one is kept without its content.
    pending_subscription_bytes_max, "pending-subscription-bytes-max": usize = 8_192, at least 0;
    /// Bytes of private XML of one account, over all namespaces. Outcome: resource-constraint.
    private_bytes_max, "private-bytes-max": usize = 1_048_576, at least 1_024;
    /// Namespaces of private XML of one account. Outcome: resource-constraint.
    private_elements_max, "private-elements-max": usize = 200, at least 1;
    /// Bytes of a vCard; avatars are in it. Outcome: resource-constraint.
    vcard_bytes_max, "vcard-bytes-max": usize = 131_072, at least 1_024;
    /// People whom one search in the user directory finds: it is no way to copy the directory.
    /// Outcome: the others are not told.
    search_results_max, "search-results-max": usize = 100, at least 1;
    /// Privacy lists of one account. Outcome: resource-constraint.
    privacy_lists_max, "privacy-lists-max": usize = 30, at least 1;
    /// Items of one privacy list, blocked addresses included: each costs memory, and time at each change.
    /// Outcome: resource-constraint.
    privacy_items_max, "privacy-items-max": usize = 1_000, at least 1;
    /// Bytes of all privacy lists of one account; as many for its rules of jabber:iq:filter.
    /// Outcome: resource-constraint.
    privacy_bytes_max, "privacy-bytes-max": usize = 262_144, at least 1_024;
    /// File transfers that the proxy carries at a time; each takes two connections.
    /// Outcome: resource-constraint to who wants to begin another one.
    bytestreams_max, "bytestreams-max": usize = 1_000, at least 1;
    /// File transfers of one account that the proxy carries at a time. Outcome: resource-constraint.
    bytestreams_per_account_max, "bytestreams-per-account-max": usize = 20, at least 1;
    /// Connections to the proxy that wait for the other end, or for the word to begin: strangers who connect and wait.
    /// Outcome: further ones are refused.
    bytestreams_waiting_max, "bytestreams-waiting-max": usize = 2_000, at least 2;
    /// Seconds in which nothing moves until a file transfer is given up. Outcome: both connections are closed.
    bytestream_idle_seconds, "bytestream-idle-seconds": u64 = 300, at least 5;
    /// Contacts to whom one session has sent directed presence. Outcome: resource-constraint for the next one, since one
    /// that is forgotten would never hear of the end.
    directed_presence_max, "directed-presence-max": usize = 1_000, at least 10;
    /// Addresses elsewhere that are shown as available to local users, remembered to tell of the end when a server is lost.
    /// Outcome: of the others the bare JIDs are told to be gone, if they are contacts.
    presences_seen_max, "presences-seen-max": usize = 1_000_000, at least 0;
    /// The same for one account: who is in many rooms sees many.
    presences_seen_per_account_max, "presences-seen-per-account-max": usize = 5_000, at least 0;
    /// Seconds to log in, where a listener has no `<authtime>`: idle strangers hold descriptors.
    /// Outcome: stream error connection-timeout.
    auth_seconds, "auth-seconds": u64 = 120, at least 5;
    /// The longest time to log in that `<authtime>` may give; an empty one gives this. 1.4's "no limit" is not to be had.
    auth_seconds_max, "auth-seconds-max": u64 = 3_600, at least 5;
    /// Seconds for a TLS handshake. Outcome: the connection is closed.
    handshake_seconds, "handshake-seconds": u64 = 30, at least 5;
    /// Seconds to wait for a peer's own end of the stream after ours. Outcome: the connection is closed.
    closing_seconds, "closing-seconds": u64 = 5, at least 1;
    /// Failed logins on one connection: guessing. The first try of a further mechanism does not count. Outcome: stream
    /// error policy-violation.
    failed_logins_max, "failed-logins-max": usize = 5, at least 1;
    /// What one connection is refused in a row before login: accounts, logins without TLS, domains of another server
    /// (dialback). Outcome: stream error policy-violation.
    refusals_max, "refusals-max": usize = 10, at least 1;
    /// Failed logins of one address within failed-logins-seconds. Outcome: each further one is answered late.
    failed_logins_per_address_max, "failed-logins-per-address-max": usize = 20, at least 1;
    /// The time in which failed logins of one address are counted.
    failed_logins_seconds, "failed-logins-seconds": u64 = 600, at least 1;
    /// Addresses that the tables of rates remember: an attacker with many addresses.
    /// Outcome: the one seen longest ago is forgotten.
    addresses_remembered_max, "addresses-remembered-max": usize = 10_000, at least 100;
    /// Bytes of a password. Outcome: not-acceptable at registration, not-authorized at login.
    password_bytes_max, "password-bytes-max": usize = 1_023, at least 64;
    /// Bytes of one field of a registration. Outcome: not-acceptable.
    registration_field_bytes_max, "registration-field-bytes-max": usize = 1_024, at least 64;
    /// Accounts of one host: a flood of registrations fills the disk. Outcome: resource-constraint.
    accounts_per_host_max, "accounts-per-host-max": usize = 1_000_000, at least 1;
    /// Bytes read from one connection in one turn of the loop, so that a greedy one does not starve the others.
    /// Outcome: the rest waits for the next turn.
    read_bytes_per_tick, "read-bytes-per-tick": usize = 65_536, at least 4_096;
    /// Bytes written to one connection in one turn of the loop. Outcome: the rest waits for the next turn.
    write_bytes_per_tick, "write-bytes-per-tick": usize = 262_144, at least 4_096;
    /// What the stanzas of one client, other server or component may bring about in one turn of the loop: stanzas sent on,
    /// contacts and items looked at. One who has thousands of contacts, and whose presence or lists change without end,
    /// would hold up everybody. Answers to it of more than half of output-bytes-max in one turn are its share as well.
    /// Outcome: the rest of what it sent waits for the next turn.
    work_per_tick, "work-per-tick": usize = 10_000, at least 1_000;
    /// Connections accepted by one listener in one turn of the loop. Outcome: the rest waits for the next turn.
    accepts_per_tick, "accepts-per-tick": usize = 100, at least 1;
    /// Invitations of one account that are not used yet. Outcome: resource-constraint.
    invitations_per_account_max, "invitations-per-account-max": usize = 20, at least 1;
    /// Invitations of one host that are not used yet; a tenth of them is kept for admins. Outcome: resource-constraint.
    invitations_per_host_max, "invitations-per-host-max": usize = 10_000, at least 1;
    /// Ad-hoc commands that one account may have under way. Outcome: session-expired for its oldest.
    commands_per_account_max, "commands-per-account-max": usize = 10, at least 1;
    /// Ad-hoc commands under way at one time, of all accounts. Outcome: session-expired for the oldest of who has the most;
    /// resource-constraint for users while only admins have any.
    commands_max, "commands-max": usize = 1_000, at least 10;
    /// Bytes of the forms that one ad-hoc command under way keeps. Outcome: bad-payload.
    command_bytes_max, "command-bytes-max": usize = 65_536, at least 4_096;
    /// Seconds that an ad-hoc command waits for its next form. Outcome: session-expired.
    command_seconds, "command-seconds": u64 = 600, at least 10;
    /// Password checks that wait for the helper thread. Outcome: temporary-auth-failure.
    password_jobs_max, "password-jobs-max": usize = 1_000, at least 1;
    /// Clients of the control socket (jabberctl) at a time: a script gone wild. Outcome: further ones are told to come back.
    control_clients_max, "control-clients-max": usize = 32, at least 1;
    /// Bytes of one line that such a client sends. Outcome: an error, and its connection is closed.
    control_line_bytes_max, "control-line-bytes-max": usize = 262_144, at least 65_536;
    /// Seconds in which such a client must send what is awaited of it. Outcome: an error, and its connection is closed.
    control_seconds, "control-seconds": u64 = 60, at least 5;
    /// Seconds in which such a client must read what it is sent: somebody looks at a page of it. Outcome: its connection is
    /// closed.
    control_reading_seconds, "control-reading-seconds": u64 = 3_600, at least 5;
}

impl Limits {
    /// The description of the bound with this name.
    pub fn bound(name: &str) -> Option<&'static Bound> {
        Limits::ALL.iter().find(|bound| bound.name == name)
    }
}
