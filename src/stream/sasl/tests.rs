//! The RFCs' exchanges, a client of our own against the server, and what must be refused.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::keys::{HASHES, derive};
use super::vectors::SHA512_EXCHANGE;
use super::*;
use crate::store::account::{ScramHash, ScramKeys};
use crate::xmpp::Random;

/// Dice that repeat: a small linear generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit.max(1)
    }
}

impl Random for Dice {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.iter_mut().for_each(|byte| *byte = self.next() as u8);
    }
}

/// The client's half of SCRAM, written against the RFC and not against the server.
struct Client {
    algorithm: ScramHash,
    password: &'static str,
    gs2_header: String,
    channel: Vec<u8>,
    first_bare: String,
}

impl Client {
    fn new(algorithm: ScramHash, gs2_header: &str, channel: &[u8], password: &'static str) -> Client {
        let first_bare = "n=romeo,r=fyko+d2lbbFgONRv9qkxdawL".to_owned();
        Client { algorithm, password, gs2_header: gs2_header.into(), channel: channel.into(), first_bare }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header, self.first_bare).into_bytes()
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self.algorithm {
            ScramHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => hmac::HMAC_SHA256,
            ScramHash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    /// The final message, and the server's answer to expect.
    fn last(&self, server_first: &[u8]) -> (String, String) {
        let server_first = std::str::from_utf8(server_first).unwrap();
        let mut parts = server_first.splitn(3, ',');
        let nonce = parts.next().unwrap();
        let salt = STANDARD.decode(parts.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
        let rounds: u32 = parts.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        let binding = STANDARD.encode([self.gs2_header.as_bytes(), &self.channel].concat());
        let without_proof = format!("c={binding},{nonce}");
        let auth_message = format!("{},{server_first},{without_proof}", self.first_bare);
        let (hash, kdf) = match self.algorithm {
            ScramHash::Sha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1),
            ScramHash::Sha256 => (&digest::SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
            ScramHash::Sha512 => (&digest::SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(kdf, NonZeroU32::new(rounds).unwrap(), &salt, self.password.as_bytes(), &mut salted);
        let client_key = self.mac(&salted, b"Client Key");
        let signature = self.mac(digest::digest(hash, &client_key).as_ref(), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.mac(&salted, b"Server Key");
        let verifier = STANDARD.encode(self.mac(&server_key, auth_message.as_bytes()));
        (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={verifier}"))
    }
}

fn binding() -> BindingData {
    BindingData { exporter: Some([0xE5; 32]), end_point: Some(vec![0xEF; 32]) }
}

fn offer() -> Offer {
    Offer::new(Some(binding()), false)
}

fn keys(algorithm: ScramHash) -> ScramKeys {
    let rounds = NonZeroU32::new(16).unwrap();
    derive(algorithm, &Password::new("pencil").unwrap(), b"salt of romeo".to_vec(), rounds)
}

fn need_keys(step: Step) -> NeedKeys {
    match step {
        Step::NeedKeys(need) => need,
        other => panic!("{other:?}"),
    }
}

fn challenge(step: Step) -> (Vec<u8>, Exchange) {
    match step {
        Step::Challenge(bytes, exchange) => (bytes, exchange),
        other => panic!("{other:?}"),
    }
}

fn failure(step: Step) -> Failure {
    match step {
        Step::Failure(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn success(step: Step) -> Success {
    match step {
        Step::Success(success) => success,
        other => panic!("{other:?}"),
    }
}

fn start(mechanism: Mechanism, offer: &Offer, message: &[u8]) -> Step {
    Exchange::start(mechanism, Some(message), offer, &mut Dice(1))
}

/// The exchange up to the client's final message, which `forge` may change.
fn login(mechanism: Mechanism, client: &Client, offer: &Offer, forge: impl Fn(String) -> String) -> Step {
    let need = need_keys(start(mechanism, offer, &client.first()));
    let keys = keys(need.hash());
    let (server_first, exchange) = challenge(need.known(keys));
    exchange.respond(forge(client.last(&server_first).0).as_bytes())
}

/// One published exchange: RFC 5802 §5, RFC 7677 §3, and the same with SHA-512 as Python computes it.
struct Vector {
    algorithm: ScramHash,
    first: &'static str,
    server_nonce: &'static str,
    salt: &'static str,
    server_first: &'static str,
    without_proof: &'static str,
    proof: &'static str,
    verifier: &'static str,
}

const NONCES_7677: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

const VECTORS: [Vector; 3] = [
    Vector {
        algorithm: ScramHash::Sha1,
        first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        salt: "QSXCR+Q6sek8bf92",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        without_proof: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
        proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        verifier: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    Vector {
        algorithm: ScramHash::Sha256,
        first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        server_first: NONCES_7677,
        without_proof: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        verifier: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
    Vector {
        algorithm: ScramHash::Sha512,
        first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        server_first: NONCES_7677,
        without_proof: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        proof: SHA512_EXCHANGE[0],
        verifier: SHA512_EXCHANGE[1],
    },
];

#[test]
fn the_exchanges_of_the_rfcs() {
    let password = Password::new("pencil").unwrap();
    for vector in VECTORS {
        let offer = Offer::new(None, false);
        let need =
            scram::client_first(vector.algorithm, false, vector.first.as_bytes(), &offer, vector.server_nonce).unwrap();
        assert_eq!((need.username(), need.authzid()), ("user", None));
        let salt = STANDARD.decode(vector.salt).unwrap();
        let keys = derive(vector.algorithm, &password, salt, NonZeroU32::new(4096).unwrap());
        let (server_first, exchange) = challenge(need.known(keys));
        assert_eq!(String::from_utf8(server_first).unwrap(), vector.server_first);
        let last = format!("{},p={}", vector.without_proof, vector.proof);
        let success = success(exchange.respond(last.as_bytes()));
        assert_eq!(String::from_utf8(success.server_final).unwrap(), format!("v={}", vector.verifier));
        assert_eq!((success.username.as_str(), success.authzid), ("user", None));
        assert_eq!(success.mechanism, Mechanism::Scram(vector.algorithm));
    }
}

#[test]
fn a_client_logs_in_by_each_mechanism() {
    let (exporter, end_point) = ([0xE5; 32], [0xEF; 32]);
    for algorithm in HASHES {
        let (scram, plus) = (Mechanism::Scram(algorithm), Mechanism::ScramPlus(algorithm));
        for (mechanism, header, channel, proved) in [
            (scram, "n,,", &[][..], scram),
            (scram, "n,a=romeo@localhost,", &[], scram),
            (plus, "p=tls-exporter,,", &exporter, plus),
            (plus, "p=tls-server-end-point,a=romeo@localhost,", &end_point, plus),
            // Compat: slixmpp 1.8.
            (plus, "n,,", &[], scram),
        ] {
            let client = Client::new(algorithm, header, channel, "pencil");
            let need = need_keys(start(mechanism, &offer(), &client.first()));
            assert_eq!((need.username(), need.hash()), ("romeo", algorithm));
            let (server_first, exchange) = challenge(need.known(keys(algorithm)));
            let (last, verifier) = client.last(&server_first);
            let success = success(exchange.respond(last.as_bytes()));
            assert_eq!(success.server_final, verifier.as_bytes());
            assert_eq!(success.authzid.is_some(), header.contains("a="));
            assert_eq!(success.mechanism, proved);
        }
        // A client that could bind, on a stream that does not offer it.
        let client = Client::new(algorithm, "y,,", &[], "pencil");
        success(login(scram, &client, &Offer::new(None, false), |last| last));
    }
}

#[test]
fn a_client_without_initial_response_is_asked_for_it() {
    let client = Client::new(ScramHash::Sha256, "n,,", &[], "pencil");
    let mechanism = Mechanism::Scram(ScramHash::Sha256);
    let (empty, exchange) = challenge(Exchange::start(mechanism, None, &offer(), &mut Dice(1)));
    assert!(empty.is_empty());
    let need = need_keys(exchange.respond(&client.first()));
    let (server_first, exchange) = challenge(need.known(keys(ScramHash::Sha256)));
    success(exchange.respond(client.last(&server_first).0.as_bytes()));

    let (_, exchange) = challenge(Exchange::start(Mechanism::Plain, None, &offer(), &mut Dice(1)));
    assert!(matches!(exchange.respond(b"\0romeo\0pencil"), Step::NeedVerdict(_)));
    let (_, exchange) = challenge(Exchange::start(mechanism, None, &offer(), &mut Dice(1)));
    assert_eq!(failure(exchange.respond(b"")).condition, Condition::MalformedRequest);
}

#[test]
fn names_are_unescaped_and_prepared() {
    for (escaped, username) in [
        ("romeo", "romeo"),
        ("Romeo", "Romeo"),
        ("a=2Cb=3Dc", "a,b=c"),
        ("=3D2C", "=2C"),
        ("=2C=2C", ",,"),
        ("I\u{AD}X", "IX"),
        ("\u{AA}", "a"),
        ("juli\u{E9}tte", "juli\u{E9}tte"),
    ] {
        let message = format!("n,a={escaped},n={escaped},r=abc,x=ignored,Z=too");
        let need = need_keys(start(Mechanism::Scram(ScramHash::Sha1), &offer(), message.as_bytes()));
        assert_eq!(need.username(), username);
        // The identity to act as is not prepared here: it is a JID.
        assert_eq!(need.authzid(), Some(escaped.replace("=2C", ",").replace("=3D", "=").as_str()));
    }
}

#[test]
fn first_messages_that_are_refused() {
    use Condition::{MalformedRequest, NotAuthorized};
    let long = |length| "x".repeat(length);
    let (sha1, plus) = (Mechanism::Scram(ScramHash::Sha1), Mechanism::ScramPlus(ScramHash::Sha1));
    let mut rows: Vec<(Mechanism, Vec<u8>, Condition)> = Vec::new();
    for message in [
        "",
        ",",
        ",,",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=,r=a",
        "n,,n=u",
        "n,,n=u,",
        "n,,n=u,r=",
        "n,,r=a,n=u",
        "n,,u,r=a",
        "n,,N=u,r=a",
        "n,,n=u,R=a",
        "n,,n=u,a=b,r=c",
        "N,,n=u,r=a",
        "x,,n=u,r=a",
        "nn,,n=u,r=a",
        "n=,,n=u,r=a",
        ",,n=u,r=a",
        " n,,n=u,r=a",
        "n, ,n=u,r=a",
        "n,u,n=u,r=a",
        "n,a=,n=u,r=a",
        "n,A=b,n=u,r=a",
        "n,a=b=,n=u,r=a",
        "n,a=b=2D,n=u,r=a",
        "n,n=u,r=a",
        "n=u,r=a",
        "F,n,,n=u,r=a",
        "p,,n=u,r=a",
        "p=,,n=u,r=a",
        "p=tls exporter,,n=u,r=a",
        "p=tls_exporter,,n=u,r=a",
        "y=,,n=u,r=a",
        "n,,m=x,n=u,r=a",
        "n,,m=,n=u,r=a",
        "n,,n=u,r=a,m=x",
        "n,,n=u,m=x,r=a",
        "n,,n=u=,r=a",
        "n,,n=u=2c,r=a",
        "n,,n=u=3d,r=a",
        "n,,n=u=20,r=a",
        "n,,n==,r=a",
        "n,,n=u,r=a b",
        "n,,n=u,r=a\u{7F}",
        "n,,n=u,r=\u{E4}",
        "n,,n=u,r=a\n",
        "n,,n=u,r=a,",
        "n,,n=u,r=a,x",
        "n,,n=u,r=a,x=",
        "n,,n=u,r=a,=x",
        "n,,n=u,r=a,1=x",
        "n,,n=u,r=a,xy=z",
        "n,,n=u,r=a,n=v",
        "n,,n=u,r=a,r=b",
        "n,,n=u,r=a,c=biws",
        "n,,n=u,r=a,p=AAAA",
        "n,,n=u,r=a,i=1",
        "n,,n=u\0,r=a",
        "n,,n=u,r=a\0",
        "n,,n=\u{AD},r=a",
        "n,,n=a\u{7},r=a",
        "n,,n=\u{627}1,r=a",
        "n,,n=\u{1F600},r=a",
        "n,,n=\u{E000},r=a",
        "p=tls-exporter,,n=u,r=a",
    ] {
        rows.push((sha1, message.into(), MalformedRequest));
    }
    for message in ["p=tls-unique,,n=u,r=a", "p=TLS-EXPORTER,,n=u,r=a", "p=tls-exporter.,,n=u,r=a", "p=-,,n=u,r=a"] {
        rows.push((plus, message.into(), MalformedRequest));
    }
    // RFC 5802 §6: we offered -PLUS, and the client did not see it.
    rows.push((sha1, b"y,,n=u,r=a".to_vec(), NotAuthorized));
    rows.push((plus, b"y,,n=u,r=a".to_vec(), NotAuthorized));
    rows.push((sha1, b"n,,n=u\xFF,r=a".to_vec(), MalformedRequest));
    rows.push((sha1, b"n,,n=\xC0\x80,r=a".to_vec(), MalformedRequest));
    rows.push((sha1, format!("n,,n={},r=a", long(1024)).into_bytes(), MalformedRequest));
    rows.push((sha1, format!("n,a={},n=u,r=a", long(1024)).into_bytes(), MalformedRequest));
    rows.push((sha1, format!("n,,n=u,r={}", long(300)).into_bytes(), MalformedRequest));
    rows.push((sha1, format!("n,,n=u,r=a,x={}", long(MESSAGE_BYTES_MAX)).into_bytes(), MalformedRequest));
    assert!(rows.len() >= 60);
    for (mechanism, message, condition) in rows {
        let failure = failure(start(mechanism, &offer(), &message));
        assert_eq!(failure.condition, condition, "{:?}", String::from_utf8_lossy(&message));
        assert!(failure.text.is_some());
    }
}

#[test]
fn binding_types_without_data_are_refused() {
    let no_end_point = Offer::new(Some(BindingData { end_point: None, ..binding() }), false);
    let step = start(Mechanism::ScramPlus(ScramHash::Sha1), &no_end_point, b"p=tls-server-end-point,,n=u,r=a");
    assert_eq!(failure(step).why, "unsupported channel binding type");
}

#[test]
fn final_messages_that_are_refused() {
    use Condition::{MalformedRequest, NotAuthorized};
    let c = |text: &str| STANDARD.encode(text);
    type Forge = Box<dyn Fn(String) -> String>;
    let rows: [(&str, Forge, Condition); 29] = [
        ("empty", Box::new(|_| String::new()), MalformedRequest),
        ("no proof", Box::new(|m| m.split(",p=").next().unwrap().into()), MalformedRequest),
        ("empty proof", Box::new(|m| m.split(",p=").next().unwrap().to_owned() + ",p="), MalformedRequest),
        ("short proof", Box::new(|m| m.split(",p=").next().unwrap().to_owned() + ",p=AAAA"), MalformedRequest),
        ("long proof", Box::new(|m| m + "AAAA"), MalformedRequest),
        ("unpadded proof", Box::new(|m| m.trim_end_matches('=').into()), MalformedRequest),
        ("proof not base64", Box::new(|m| m.replace(",p=", ",p=!")), MalformedRequest),
        ("something after the proof", Box::new(|m| m + ",x=y"), MalformedRequest),
        ("two proofs", Box::new(|m| m.clone() + ",p=" + m.split(",p=").last().unwrap()), MalformedRequest),
        (
            "proof first",
            Box::new(|m| {
                let (a, b) = m.split_once(",p=").unwrap();
                format!("p={b},{a}")
            }),
            MalformedRequest,
        ),
        ("no binding", Box::new(|m| m.replacen("c=biws,", "", 1)), MalformedRequest),
        ("empty binding", Box::new(|m| m.replacen("c=biws", "c=", 1)), MalformedRequest),
        ("binding not base64", Box::new(|m| m.replacen("c=biws", "c=b", 1)), MalformedRequest),
        ("binding in capitals", Box::new(|m| m.replacen("c=biws", "C=biws", 1)), MalformedRequest),
        ("no nonce", Box::new(|m| "c=biws,p=".to_owned() + m.split(",p=").last().unwrap()), MalformedRequest),
        ("nonce with a space", Box::new(|m| m.replacen(",r=", ",r= ", 1)), MalformedRequest),
        (
            "nonce before binding",
            Box::new(|m| {
                let parts: Vec<_> = m.splitn(3, ',').collect();
                format!("{},{},{}", parts[1], parts[0], parts[2])
            }),
            MalformedRequest,
        ),
        ("mandatory extension", Box::new(|m| m.replace(",p=", ",m=x,p=")), MalformedRequest),
        ("mandatory extension first", Box::new(|m| "m=x,".to_owned() + &m), MalformedRequest),
        ("binding twice", Box::new(|m| m.replace(",p=", ",c=biws,p=")), MalformedRequest),
        ("NUL", Box::new(|m| m + "\0"), MalformedRequest),
        ("too long", Box::new(|m| m.replace(",p=", &format!(",x={},p=", "y".repeat(4000)))), MalformedRequest),
        ("another nonce", Box::new(|m| m.replacen(",r=f", ",r=g", 1)), NotAuthorized),
        (
            "the client's nonce alone",
            Box::new(|m| {
                let proof = m.split(",p=").last().unwrap();
                format!("c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p={proof}")
            }),
            NotAuthorized,
        ),
        ("a longer nonce", Box::new(|m| m.replacen(",p=", "x,p=", 1)), NotAuthorized),
        (
            "another flag",
            Box::new({
                let y = c("y,,");
                move |m| m.replacen("biws", &y, 1)
            }),
            NotAuthorized,
        ),
        (
            "another authzid",
            Box::new({
                let a = c("n,a=j,");
                move |m| m.replacen("biws", &a, 1)
            }),
            NotAuthorized,
        ),
        (
            "binding that was not begun",
            Box::new({
                let p = c("p=tls-exporter,,");
                move |m| m.replacen("biws", &p, 1)
            }),
            NotAuthorized,
        ),
        // What was signed has changed.
        ("an extension that was not signed", Box::new(|m| m.replace(",p=", ",x=y,p=")), NotAuthorized),
    ];
    for algorithm in HASHES {
        let client = Client::new(algorithm, "n,,", &[], "pencil");
        for (name, forge, condition) in &rows {
            let failure = failure(login(Mechanism::Scram(algorithm), &client, &offer(), forge));
            assert_eq!(failure.condition, *condition, "{name}");
        }
    }
}

#[test]
fn a_wrong_password_and_a_wrong_channel_are_refused() {
    for algorithm in HASHES {
        let client = Client::new(algorithm, "n,,", &[], "Pencil");
        assert_eq!(failure(login(Mechanism::Scram(algorithm), &client, &offer(), |m| m)), Failure::WRONG_PASSWORD);
        for (header, channel) in [
            ("p=tls-exporter,,", vec![0xE6; 32]),
            ("p=tls-exporter,,", vec![0xE5; 31]),
            ("p=tls-exporter,,", vec![]),
            ("p=tls-server-end-point,,", vec![0xE5; 32]),
            ("n,,", vec![0xE5; 32]),
        ] {
            let client = Client::new(algorithm, header, &channel, "pencil");
            let failure = failure(login(Mechanism::ScramPlus(algorithm), &client, &offer(), |m| m));
            assert_eq!(failure.condition, Condition::NotAuthorized);
            assert!(failure.why.starts_with("channel binding does not match"));
        }
    }
}

#[test]
fn a_name_without_account_is_treated_like_one_with() {
    let secret = DecoySecret::new(&[3; 32]);
    for algorithm in HASHES {
        let mechanism = Mechanism::Scram(algorithm);
        let client = Client::new(algorithm, "n,,", &[], "pencil");
        let ask =
            |account| challenge(need_keys(start(mechanism, &offer(), &client.first())).unknown(&secret, account, None));
        let (first, exchange) = ask("romeo@localhost");
        assert_eq!(first, ask("romeo@localhost").0);
        assert_ne!(first, ask("romeo@example.org").0);
        assert!(String::from_utf8(first.clone()).unwrap().ends_with(",i=10000"));
        let refused = failure(exchange.respond(client.last(&first).0.as_bytes()));
        assert_eq!(refused, Failure::NO_ACCOUNT);
        // Messages that are refused for another reason are refused for the same reason.
        let (first, exchange) = ask("romeo@localhost");
        let last = client.last(&first).0;
        assert_eq!(
            failure(exchange.respond(last.replace("biws", "eSws").as_bytes())).condition,
            Condition::NotAuthorized
        );
        let (_, exchange) = ask("romeo@localhost");
        assert_eq!(failure(exchange.respond(b"c=biws,r=x,p=AAAA")).condition, Condition::MalformedRequest);
    }
}

#[test]
fn debug_tells_neither_channel_nor_keys() {
    let client = Client::new(ScramHash::Sha1, "p=tls-exporter,,", &[0xE5; 32], "pencil");
    let need = need_keys(start(Mechanism::ScramPlus(ScramHash::Sha1), &offer(), &client.first()));
    assert_eq!(format!("{need:?}"), "NeedKeys(Sha1, romeo)");
    let (_, exchange) = challenge(need.known(keys(ScramHash::Sha1)));
    assert_eq!(format!("{exchange:?}"), "Exchange(ExpectFinal(ExpectFinal(Sha1, romeo)))");
    assert_eq!(format!("{:?}", binding()), r#"["tls-exporter", "tls-server-end-point"]"#);
}

#[test]
fn keys_of_another_hash_are_a_trouble_of_ours() {
    let client = Client::new(ScramHash::Sha1, "n,,", &[], "pencil");
    let need = need_keys(start(Mechanism::Scram(ScramHash::Sha1), &offer(), &client.first()));
    assert_eq!(failure(need.known(keys(ScramHash::Sha256))).condition, Condition::TemporaryAuthFailure);
}

#[test]
fn mechanisms_that_were_not_offered() {
    let clear = Offer::new(None, false);
    let cases = [(Mechanism::Plain, Condition::EncryptionRequired)];
    let plus = HASHES.map(|algorithm| (Mechanism::ScramPlus(algorithm), Condition::InvalidMechanism));
    for (mechanism, condition) in cases.into_iter().chain(plus) {
        assert_eq!(failure(start(mechanism, &clear, b"p=tls-exporter,,n=u,r=a")).condition, condition);
        assert_eq!(failure(Exchange::start(mechanism, None, &clear, &mut Dice(1))).condition, condition);
    }
}

#[test]
fn plain_is_read_and_refused() {
    use Condition::{MalformedRequest, NotAuthorized};
    for (message, authzid, name) in [
        ("\0romeo\0pencil", None, "romeo"),
        ("romeo@localhost\0romeo\0pencil", Some("romeo@localhost"), "romeo"),
        ("\0I\u{AD}X\0pen\u{AD}cil", None, "IX"),
        ("\0a,=b\0pencil", None, "a,=b"),
    ] {
        match start(Mechanism::Plain, &offer(), message.as_bytes()) {
            Step::NeedVerdict(login) => {
                assert_eq!((login.authzid.as_deref(), login.username.as_str()), (authzid, name));
                let result = login.verify(7, keys(ScramHash::Sha1)).run();
                assert_eq!(result.token, 7);
                assert!(matches!(result.outcome, Outcome::Verified(true)));
            }
            other => panic!("{other:?}"),
        }
    }
    let long = "x".repeat(1024);
    for (message, condition) in [
        ("".into(), MalformedRequest),
        ("romeo".into(), MalformedRequest),
        ("romeo\0pencil".into(), MalformedRequest),
        ("\0\0".into(), MalformedRequest),
        ("\0\0pencil".into(), MalformedRequest),
        ("\0romeo\0pencil\0".into(), MalformedRequest),
        ("\0romeo\0pen\0cil".into(), MalformedRequest),
        ("\0\0\0".into(), MalformedRequest),
        ("\0ro\u{7}meo\0pencil".into(), MalformedRequest),
        (format!("{long}\0romeo\0pencil"), MalformedRequest),
        (format!("\0{long}\0pencil"), MalformedRequest),
        (format!("\0romeo\0{long}"), NotAuthorized),
        ("\0romeo\0".into(), NotAuthorized),
        ("\0romeo\0a\u{7}".into(), NotAuthorized),
        ("\0romeo\0\u{1F600}".into(), NotAuthorized),
        (format!("\0romeo\0{}", "x".repeat(4000)), MalformedRequest),
    ] {
        assert_eq!(failure(start(Mechanism::Plain, &offer(), message.as_bytes())).condition, condition, "{message:?}");
    }
    assert_eq!(failure(start(Mechanism::Plain, &offer(), b"\0romeo\0\xFF")).condition, MalformedRequest);
}

#[test]
fn one_acts_as_oneself() {
    let romeo = crate::xmpp::BareJid::new("romeo@localhost").unwrap();
    for (authzid, allowed) in [
        (None, true),
        (Some("romeo@localhost"), true),
        (Some("ROMEO@LocalHost"), true),
        (Some("juliet@localhost"), false),
        (Some("romeo@example.org"), false),
        (Some("romeo@localhost/orchard"), false),
        (Some("localhost"), false),
        (Some("romeo"), false),
        (Some(""), false),
        (Some("@localhost"), false),
        (Some("romeo@localhost@x"), false),
    ] {
        assert_eq!(check_authzid(authzid, &romeo).is_ok(), allowed, "{authzid:?}");
    }
}

/// Messages with bytes changed, left out, doubled and mixed never panic, and never log anybody in.
#[test]
fn mutated_messages_neither_panic_nor_log_in() {
    let mut dice = Dice(2026);
    let secret = DecoySecret::new(&[3; 32]);
    let headers = ["n,,", "y,,", "n,a=romeo@localhost,", "p=tls-exporter,,", "p=tls-server-end-point,,"];
    for round in 0..4000 {
        let mechanism = Mechanism::ALL[dice.below(Mechanism::ALL.len())];
        let algorithm = match mechanism {
            Mechanism::Plain => ScramHash::Sha1,
            Mechanism::Scram(algorithm) | Mechanism::ScramPlus(algorithm) => algorithm,
        };
        let client = Client::new(algorithm, headers[dice.below(headers.len())], &[0xE5; 32], "Pencil");
        let first = if round % 3 == 0 { client.first() } else { mutate(client.first(), &mut dice) };
        let Step::NeedKeys(need) = start(mechanism, &offer(), &first) else { continue };
        let step =
            if round % 2 == 0 { need.known(keys(algorithm)) } else { need.unknown(&secret, "romeo@localhost", None) };
        let (server_first, exchange) = challenge(step);
        let server_first =
            if round % 2 == 0 { server_first } else { b"r=fyko+d2lbbFgONRv9qkxdawL,s=AAAA,i=2".to_vec() };
        let last = mutate(client.last(&server_first).0.into_bytes(), &mut dice);
        failure(exchange.respond(&last));
    }
    for _ in 0..2000 {
        let text = mutate(encode(b"\0romeo\0pencil").into_bytes(), &mut dice);
        let _ = decode(&String::from_utf8_lossy(&text));
        let _ = start(Mechanism::Plain, &offer(), &mutate(b"a\0romeo\0pencil".to_vec(), &mut dice));
    }
}

fn mutate(mut message: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    const PIECES: [&[u8]; 12] =
        [b",", b"=", b"\0", b"\xFF", b"m=", b"p=", b"r=", b"n,,", b"=2C", b"\xC3", b"\xF0\x9F\x98\x80", b"AAAA"];
    for _ in 0..=dice.below(4) {
        let at = dice.below(message.len() + 1);
        match dice.below(5) {
            0 => message.truncate(at),
            1 if at < message.len() => drop(message.remove(at)),
            2 if at < message.len() => message[at] ^= 1 << dice.below(8),
            3 => message.extend_from_slice(&message.clone()[..at]),
            _ => drop(message.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied()).collect::<Vec<_>>()),
        }
    }
    message
}
