//! What becomes of elements of jabberd 1.4 and 1.6 that do nothing here, one row each: accepted in silence where nothing is
//! lost, with one line where somebody might wait for it, with an address that answers by errors where there was a
//! service, and refused where going on would look like losing accounts.

use super::*;
use crate::config::components::Link;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing.
    Silent,
    /// One notice with this phrase.
    Noticed(&'static str),
    /// One warning with this phrase.
    Warned(&'static str),
    /// The address stays and answers with errors; one warning with this phrase.
    Bounced(&'static str),
    /// No start; with this phrase.
    Refused(&'static str),
}

use Said::{Bounced, Noticed, Refused, Silent, Warned};

/// Where the element stands; `*` is its place.
const ROOT: &str = "<jabber><service id='sessions'><host>a.test</host></service>*</jabber>";
const JSM: &str =
    "<jabber><service id='sessions'><host>a.test</host><jsm xmlns='jabber:config:jsm'>*</jsm></service></jabber>";
const LOAD: &str =
    "<jabber><service id='s'><host>a.test</host><load main='jsm'><jsm>x</jsm>*</load></service></jabber>";
const SERVICE: &str =
    "<jabber><service id='sessions'><host>a.test</host></service><service id='x.test'>*</service></jabber>";
const LOG: &str = "<jabber><service id='sessions'><host>a.test</host></service><log id='l'><stderr/>*</log></jabber>";
const XDB: &str = "<jabber><service id='sessions'><host>a.test</host></service><xdb id='xdb'>*</xdb></jabber>";
const SPOOL: &str = "<jabber><service id='sessions'><host>a.test</host></service><xdb id='xdb'>\
                     <xdb_file xmlns='jabber:config:xdb_file'><spool>/x</spool>*</xdb_file></xdb></jabber>";
const CLIENTS: &str = "<jabber><service id='sessions'><host>a.test</host></service><service id='c2s'>\
                       <pthcsock xmlns='jabber:config:pth-csock'>*</pthcsock></service></jabber>";
const SERVERS: &str = "<jabber><service id='sessions'><host>a.test</host></service><service id='d'><load><dnsrv/></load></service>\
                       <service id='s2s'><dialback xmlns='jabber:config:dialback'>*</dialback></service></jabber>";
const DNSRV: &str = "<jabber><service id='sessions'><host>a.test</host></service><service id='s2s'><load><dialback/></load></service>\
                     <service id='d'>*</service></jabber>";
const TLS: &str = "<jabber><service id='sessions'><host>a.test</host></service><io><tls>*</tls></io></jabber>";
const CREDENTIALS: &str = "<jabber><service id='sessions'><host>a.test</host></service><io><tls><credentials>*</credentials></tls></io></jabber>";
const IO: &str = "<jabber><service id='sessions'><host>a.test</host></service><io>*</io></jabber>";

const ROWS: &[(&str, &str, Said)] = &[
    (ROOT, "<base/>", Silent),
    (ROOT, "<global><locales><locale lang='de' locale='de_DE'/></locales></global>", Silent),
    (ROOT, "<debug><facility>local0</facility></debug>", Silent),
    (ROOT, "<foo/>", Refused("Invalid Tag type: foo")),
    (ROOT, "<service id='x'><bogus/></service>", Refused("Unknown Base Tag: bogus")),
    (ROOT, "<service id='x'><null/><bogus xmlns='jabber:config:bogus'/></service>", Noticed("<bogus> has no effect")),
    (IO, "<announce port='5555'/>", Silent),
    (IO, "<karma><heartbeat>2</heartbeat></karma>", Silent),
    (IO, "<ssl><key id='*' no-ssl-v2='1'>/a.pem</key></ssl>", Noticed("no-ssl-v2= has no effect")),
    (IO, "<ssl><key id='*' no-ssl-v3='1'>/a.pem</key></ssl>", Noticed("no-ssl-v3= has no effect")),
    (IO, "<ssl><key id='*' no-tls-v1='1'>/a.pem</key></ssl>", Noticed("no-tls-v1= has no effect")),
    (IO, "<ssl><key id='*' enable-workarounds='1'>/a.pem</key></ssl>", Noticed("enable-workarounds= has no effect")),
    (IO, "<ssl><key id='*' ciphers='x'>/a.pem</key></ssl>", Noticed("ciphers= has no effect")),
    (
        TLS,
        "<cacertfile/>",
        Warned("<cacertfile> names no file: ignored; write <cacertfile>/etc/jabber/ca.pem</cacertfile>"),
    ),
    (TLS, "<dhparams>/x</dhparams>", Noticed("<dhparams> has no effect")),
    (TLS, "<crlfile>/x</crlfile>", Noticed("<crlfile> has no effect")),
    (TLS, "<key>/x</key>", Warned("<key> belongs into <ssl>")),
    (CREDENTIALS, "<protocols>TLS1</protocols>", Noticed("<protocols> has no effect")),
    (CREDENTIALS, "<kx>x</kx>", Noticed("<kx> has no effect")),
    (CREDENTIALS, "<ciphers>x</ciphers>", Noticed("<ciphers> has no effect")),
    (CREDENTIALS, "<compression>x</compression>", Noticed("<compression> has no effect")),
    (CREDENTIALS, "<mac>x</mac>", Noticed("<mac> has no effect")),
    (CREDENTIALS, "<certtypes>x</certtypes>", Noticed("<certtypes> has no effect")),
    (CREDENTIALS, "<der>/x</der>", Warned("<der> cannot be read: convert it to PEM")),
    (CREDENTIALS, "<openpgp>/x</openpgp>", Warned("<openpgp> cannot be read")),
    (CREDENTIALS, "<keyring>/x</keyring>", Warned("<keyring> cannot be read")),
    (CREDENTIALS, "<trustdb>/x</trustdb>", Warned("<trustdb> cannot be read")),
    (JSM, "<maxusers>3001</maxusers>", Silent),
    (JSM, "<maxhosts>17</maxhosts>", Silent),
    (JSM, "<usergc>60</usergc>", Silent),
    (JSM, "<update><localhost/></update>", Silent),
    (JSM, "<mod_auth_crypt><hash>SHA1</hash></mod_auth_crypt>", Silent),
    (JSM, "<mod_auth_0k><sequences>500</sequences></mod_auth_0k>", Silent),
    (JSM, "<filter><default/><max_size>100</max_size></filter>", Noticed("<filter> has no effect")),
    (JSM, "<groups><group id='a'/></groups>", Noticed("<groups> has no effect")),
    (JSM, "<archive><service>a.test</service></archive>", Noticed("<archive> has no effect")),
    (JSM, "<history><sent/></history>", Noticed("<history> has no effect")),
    (JSM, "<serialization><file>x</file></serialization>", Noticed("<serialization> has no effect")),
    (JSM, "<presence><presence2xdb/></presence>", Noticed("<presence2xdb> has no effect")),
    (JSM, "<vCard/><vCard/>", Noticed("the first <vCard> is shown in all languages")),
    (JSM, "<register><registered/><remove/><key/></register>", Silent),
    (JSM, "<auth>auth.a.test</auth>", Refused("<auth> cannot be honoured")),
    (LOAD, "<mod_register>x</mod_register><mod_auth_0k>x</mod_auth_0k>", Noticed("<mod_auth_0k> has no effect")),
    (
        LOAD,
        "<mod_register>x</mod_register><mod_auth_crypt>x</mod_auth_crypt>",
        Noticed("<mod_auth_crypt> has no effect"),
    ),
    (LOAD, "<mod_register>x</mod_register><mod_dynamic>x</mod_dynamic>", Noticed("<mod_dynamic> has no effect")),
    (LOAD, "<mod_register>x</mod_register><mod_test>x</mod_test>", Noticed("<mod_test> has no effect")),
    (LOAD, "<mod_register>x</mod_register><mod_groups>x</mod_groups>", Noticed("<mod_groups> has no effect")),
    (LOAD, "<mod_register>x</mod_register><mod_example>x</mod_example>", Noticed("<mod_example> has no effect")),
    (LOAD, "<mod_register>x</mod_register><mod_mine>x</mod_mine>", Noticed("no module has this name")),
    (LOAD, "<mod_register>x</mod_register><mod_filter>x</mod_filter>", Silent),
    (LOAD, "<mod_auth_ldap>x</mod_auth_ldap>", Refused("mod_auth_ldap")),
    (SERVICE, "<load><conference>./mu.so</conference></load>", Bounced("a service for rooms as a component")),
    (
        SERVICE,
        "<host>y.test</host><load><jud>./jud.so</jud></load>",
        Noticed("directory of this server, answers at y.test, x.test"),
    ),
    (SERVICE, "<null/><jud xmlns='jabber:config:jud'/>", Noticed("<jud> has no effect")),
    (
        SERVICE,
        "<host>y.test</host><load><msntrans>./m.so</msntrans></load>",
        Bounced("stanzas to x.test, y.test come back"),
    ),
    (SERVICE, "<host>x.test</host><load><jud>./jud.so</jud></load>", Noticed("answers at x.test: jud.so")),
    (SERVICE, "<host>x.test</host><load><icqtrans>./i.so</icqtrans></load>", Bounced("stanzas to x.test come back")),
    (SERVICE, "<load><yahootrans>./y.so</yahootrans></load>", Bounced("a transport as a component")),
    (SERVICE, "<load><mine>./mine.so</mine></load>", Bounced("instead: run it as a component")),
    (SERVICE, "<exec>/bin/x</exec>", Bounced("programs are not run by <exec>")),
    (SERVICE, "<stdout/>", Bounced("programs are not run by <stdout>")),
    (SERVICE, "<dynamic>/x</dynamic>", Bounced("programs are not run by <dynamic>")),
    (SERVICE, "<host>y.test</host>", Bounced("has nothing that handles stanzas")),
    (SERVICE, "<dir><in>/x</in><out>/y</out></dir>", Noticed("only <in> is read")),
    (SERVICE, "<file>/x</file>", Noticed("only a <log> section writes to it")),
    (SERVICE, "<to>a@b</to>", Noticed("only a <log> section writes to it")),
    (SERVICE, "<syslog>daemon</syslog>", Noticed("only a <log> section writes to it")),
    (SERVICE, "<stderr/>", Noticed("only a <log> section writes to it")),
    (LOG, "<load><x/></load>", Noticed("nothing in a <log> section reads it")),
    (XDB, "<load><xdb_sql>x</xdb_sql></load>", Refused("xdb_sql")),
    (XDB, "<load><xdb_ldap>x</xdb_ldap></load>", Refused("xdb_ldap")),
    (XDB, "<xdb_sql xmlns='jabber:config:xdb_sql'/>", Refused("xdb_sql")),
    (XDB, "<importspool>/x</importspool>", Silent),
    (XDB, "<host>a.test</host><xdb_file xmlns='jabber:config:xdb_file'><spool>/x</spool></xdb_file>", Silent),
    (
        XDB,
        "<ns/><xdb_file xmlns='jabber:config:xdb_file'><spool>/x</spool></xdb_file></xdb><xdb id='x'>\
         <ns>jabber:x:offline</ns><xdb_file xmlns='jabber:config:xdb_file'><spool>/y</spool></xdb_file>",
        Noticed("there is one store: what <xdb id=\"x\"> kept is in xdb, too"),
    ),
    (SPOOL, "<timeout>3600</timeout>", Silent),
    (SPOOL, "<maxfiles>509</maxfiles>", Silent),
    (CLIENTS, "<something/>", Warned("unknown element <something> in <pthcsock>")),
    (SERVERS, "<legacy/>", Noticed("<legacy> has no effect")),
    (SERVERS, "<maxhosts>997</maxhosts>", Silent),
    (
        DNSRV,
        "<dnsrv xmlns='jabber:config:dnsrv' queuemax='101' queuetimeout='60' cachemax='1999'><resend>s2s</resend></dnsrv>",
        Silent,
    ),
    (
        DNSRV,
        "<dnsrv xmlns='jabber:config:dnsrv'><resend><partial weight='1'>s2s</partial></resend></dnsrv>",
        Noticed("<partial> has no effect"),
    ),
];

#[test]
fn each_gets_its_treatment() {
    for (around, element, said) in ROWS {
        let text = around.replacen('*', &format!("\n{element}\n"), 1);
        let result = read(&text);
        let lines = result.as_ref().map(|config| config.notices.as_slice()).unwrap_or_default();
        let is_one = |severity: Severity, phrase: &str| {
            let [line] = lines else { return false };
            line.severity == severity && line.text.contains(phrase) && line.place.line > 0
        };
        let is_as_said = match (said, &result) {
            (Silent, Ok(_)) => lines.is_empty(),
            (Noticed(phrase), Ok(_)) => is_one(Severity::Notice, phrase),
            (Warned(phrase), Ok(_)) => is_one(Severity::Warning, phrase),
            (Bounced(phrase), Ok(config)) => {
                let link = config.component("x.test").map(|component| &component.link);
                is_one(Severity::Warning, phrase) && matches!(link, Some(Link::Bounce(_)))
            }
            (Refused(phrase), Err(error)) => {
                let problem = &error.problems[0];
                error.problems.len() == 1
                    && error.to_string().contains(phrase)
                    && problem.place.line == 2
                    && problem.excerpt.is_some()
                    && !problem.remedy.is_empty()
            }
            _ => false,
        };
        assert!(is_as_said, "{element}: {said:?}, but {:?}", result.map(|config| config.notices));
    }
}
