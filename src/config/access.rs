//! Who may come in and who may do what: networks of `<allow>` and `<deny>`, rates and karma, 1.6's access lists.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::xmpp::BareJid;

/// Some addresses: one, or all that agree with it in the bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// IPv4 as mapped into IPv6, so that one comparison serves both.
fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The bits of an IPv6 address that one customer has: who has one address has them all.
const CUSTOMER_BITS: u128 = u128::MAX << 64;

/// What stands for all addresses of whoever has this one, where somebody's connections or tries are counted.
pub fn customer(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & CUSTOMER_BITS)),
        canonical => canonical,
    }
}

impl Network {
    /// All addresses that begin as this one does; `prefix` counts bits of the address' own family.
    /// `None` if the family has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Network> {
        let address = address.to_canonical();
        let (width, own) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        if prefix > width {
            return None;
        }
        let length = u32::from(prefix) + own;
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        Some(Network { address: bits(address) & mask, mask })
    }

    /// Exactly one address.
    pub fn exactly(address: IpAddr) -> Network {
        Network { address: bits(address), mask: u128::MAX }
    }

    /// An address and a mask as jabberd 1.4 wrote it: `255.255.255.0`, or an IPv6 mask, or a number of bits.
    /// `None` if the two do not belong together.
    pub fn masked(address: IpAddr, mask: &str) -> Option<Network> {
        let mask = mask.trim();
        if let Ok(prefix) = mask.trim_start_matches('/').parse::<u8>() {
            return Network::new(address, prefix);
        }
        let mask: IpAddr = mask.parse().ok()?;
        let mask = match (address.to_canonical(), mask) {
            (IpAddr::V4(_), IpAddr::V4(mask)) => u128::from(mask.to_bits()) | (u128::MAX << 32),
            (IpAddr::V6(_), IpAddr::V6(mask)) => mask.to_bits(),
            _ => return None,
        };
        Some(Network { address: bits(address) & mask, mask })
    }

    /// `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.7`, `[::1]`; `loopback` and `any` are not networks but lists of them.
    pub fn parse(text: &str) -> Option<Network> {
        let text = text.trim();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        match prefix {
            Some(prefix) => Network::masked(address, prefix),
            None => Some(Network::exactly(address)),
        }
    }

    /// The machine itself: `127.0.0.0/8` and `::1`.
    pub fn loopback() -> Vec<Network> {
        ["127.0.0.0/8", "::1"].iter().filter_map(|text| Network::parse(text)).collect()
    }

    /// Is this address one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }

    /// Is it one address only?
    pub fn is_single(&self) -> bool {
        self.mask == u128::MAX
    }
}

/// `192.0.2.0/24`; a mask with holes is written as jabberd 1.4 wrote it.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = std::net::Ipv6Addr::from_bits(self.address);
        let (address, own) = match v6.to_ipv4_mapped() {
            Some(v4) if self.mask.leading_ones() >= 96 => (IpAddr::V4(v4), 96),
            _ => (IpAddr::V6(v6), 0),
        };
        let length = self.mask.leading_ones();
        match (self.is_single(), length + self.mask.trailing_zeros() == 128 || self.mask == 0) {
            (true, _) => write!(f, "{address}"),
            (false, true) => write!(f, "{address}/{}", length.saturating_sub(own)),
            (false, false) => write!(f, "{address} with mask {:x}", self.mask),
        }
    }
}

/// `<allow>` and `<deny>` of `<io>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Who may connect; empty means everybody.
    pub allow: Vec<Network>,
    /// Who may not.
    pub deny: Vec<Network>,
}

impl Access {
    /// May this address connect? An exact allow beats a denied network, and an exact deny beats everything: jabberd
    /// 1.4's scores.
    pub fn admits(&self, address: IpAddr) -> bool {
        let score = |list: &[Network]| {
            let hits = list.iter().filter(|network| network.contains(address));
            hits.map(|network| if network.is_single() { 2 } else { 1 }).max().unwrap_or(0)
        };
        let allow = if self.allow.is_empty() { 1 } else { score(&self.allow) };
        score(&self.deny) < allow
    }
}

/// `<rate points= time=/>`: so many connections from one address in so many seconds, further ones are closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many connections.
    pub points: u32,
    /// Within how many seconds.
    pub seconds: u32,
}

/// `<karma>`: how much a connection may send. The algorithm is jabberd 1.4's: a budget of `value · 100` bytes, refilled
/// every two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in jabber.xml; man/jabber.xml.5 explains each")]
pub struct Karma {
    pub init: i32,
    pub max: i32,
    pub inc: i32,
    /// 0 switches karma off.
    pub dec: i32,
    pub penalty: i32,
    pub restore: i32,
    pub reset_meter: bool,
}

impl Karma {
    /// The values in the files that jabberd 1.4 came with: for clients, for servers, and its sample for both.
    pub const STOCK: [Karma; 3] = [
        Karma { init: 10, max: 10, inc: 1, dec: 1, penalty: -6, restore: 10, reset_meter: false },
        Karma { init: 50, max: 50, inc: 4, dec: 1, penalty: -5, restore: 50, reset_meter: false },
        Karma { init: 64, max: 64, inc: 6, dec: 1, penalty: -3, restore: 64, reset_meter: false },
    ];
}

impl Default for Karma {
    fn default() -> Karma {
        Karma { init: 5, max: 10, inc: 1, dec: 0, penalty: -5, restore: 5, reset_meter: false }
    }
}

/// The names of features that the server itself asks [`Grants`] for.
pub mod feature {
    /// Announce to all users.
    pub const ANNOUNCE: &str = "motd";
    /// Administer the host by commands (XEP-0133).
    pub const ADMINISTER: &str = "administer";
    /// See who is connected.
    pub const LIST_SESSIONS: &str = "listsessions";
    /// Gets messages that are sent to the host.
    pub const ADMIN_MESSAGES: &str = "adminmsg";
    /// Is listed as an admin in service discovery.
    pub const SHOW_AS_ADMIN: &str = "showasadmin";
}

/// One `<grant>` of 1.6's `<acl>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What is granted; `None` is everything.
    pub feature: Option<String>,
    /// To these accounts.
    pub jids: Vec<BareJid>,
    /// To every account of these domains.
    pub domains: Vec<String>,
}

/// Who may do what. Nothing is granted by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Is this feature granted to this account?
    pub fn allows(&self, account: &BareJid, feature: &str) -> bool {
        let concerned = |grant: &&Grant| grant.feature.as_deref().is_none_or(|granted| granted == feature);
        self.0.iter().filter(concerned).any(|grant| {
            grant.jids.contains(account) || grant.domains.iter().any(|domain| account.domain().as_str() == domain)
        })
    }

    /// The accounts named for a feature, each once (domains name nobody).
    pub fn named<'a>(&'a self, feature: &str) -> Vec<&'a BareJid> {
        let mut all: Vec<&BareJid> = Vec::new();
        for grant in self.0.iter().filter(|grant| grant.feature.as_deref().is_none_or(|granted| granted == feature)) {
            let new: Vec<&BareJid> = grant.jids.iter().filter(|jid| !all.contains(jid)).collect();
            all.extend(new);
        }
        all
    }
}
