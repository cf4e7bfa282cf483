//! Each case of the table, on real files.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, DnType, KeyPair};
use time::{Duration, OffsetDateTime};

use super::made::self_signed_pem;
use super::places::FILE_BYTES_MAX;
use super::*;
use crate::config::Place;

fn config(host: &str, spool: &Path) -> Config {
    Config { spool: spool.to_owned(), ..Config::for_host(host) }
}

fn named(certificate: &Path, key: &Path) -> CertificateSource {
    CertificateSource {
        domains: Vec::new(),
        addresses: Vec::new(),
        is_default: true,
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        place: Some(Place::whole(Path::new("jabber.xml"))),
    }
}

/// Certificate and key of a pair made for a host.
fn pair(host: &str) -> (String, String) {
    let pem = self_signed_pem(host, &[]).unwrap();
    let (chain, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
    (chain.to_owned(), key.to_owned())
}

#[test]
fn one_is_made_where_there_is_none() {
    let directory = crate::daemon::scratch("certificate-made");
    let rows = [
        ("chat.test", "chat.test"),
        ("bücher.test", "bücher.test"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ];
    for (host, name) in rows {
        let config = config(host, &directory);
        let (keeper, _) = Keeper::load(&config, None).unwrap();
        let certificate = &keeper.loaded[0].certificate;
        assert!(certificate.covers(name));
        // A domain has its services below it; nobody finds any below an address.
        let services = config.services.iter().filter(|service| certificate.covers(&service.name)).count();
        assert_eq!(services, if host_address(host).is_none() { config.services.len() } else { 0 });
        assert!(certificate.expires_unix_seconds() > unix_seconds() + 3600 * DAY);
        let path = directory.join("ssl").join(format!("{name}.pem"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        // The second start finds it.
        let before = std::fs::read(&path).unwrap();
        Keeper::load(&config, None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert!(self_signed_pem("bücher.test", &["users.bücher.test".to_owned()]).is_ok());
    std::fs::remove_dir_all(directory).unwrap();
}

/// A chain of an authority nobody knows, for so many days more, with its key.
fn of_an_authority(host: &str, days: i64) -> String {
    let authority = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = rcgen::Issuer::new(parameters, authority);
    let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    (parameters.not_before, parameters.not_after) = (now - Duration::days(90), now + Duration::days(days));
    let key = KeyPair::generate().unwrap();
    parameters.signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem()
}

#[test]
fn an_expired_certificate_of_an_authority_was_replaced_by_a_self_made_one() {
    let directory = crate::daemon::scratch("certificate-expired");
    let config = config("chat.test", &directory);
    Keeper::load(&config, None).unwrap();
    let path = directory.join("ssl/chat.test.pem");
    let before = of_an_authority("chat.test", -1);
    std::fs::write(&path, &before).unwrap();
    let (keeper, _) = Keeper::load(&config, None).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert!(keeper.problems()[0].contains("has expired"), "{:?}", keeper.problems());
    assert!(!is_own_make(&keeper.loaded[0].certificate));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn of_a_certificate_that_is_not_valid_yet_nobody_was_told() {
    let directory = crate::daemon::scratch("certificate-early");
    let config = config("chat.test", &directory);
    Keeper::load(&config, None).unwrap();
    let mut parameters = CertificateParams::new(vec!["chat.test".to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    (parameters.not_before, parameters.not_after) = (now + Duration::days(2), now + Duration::days(90));
    let key = KeyPair::generate().unwrap();
    let pem = parameters.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    std::fs::write(directory.join("ssl/chat.test.pem"), pem).unwrap();
    let (mut keeper, _) = Keeper::load(&config, None).unwrap();
    let [problem] = keeper.problems().try_into().unwrap();
    assert!(
        problem.contains("chat.test.pem of chat.test is not valid yet") && problem.contains("see date"),
        "{problem}"
    );
    assert!(keeper.loaded[0].told_early);
    // Its time comes.
    keeper.warn_of_ends(unix_seconds() + 3 * DAY);
    assert!(!keeper.loaded[0].told_early);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Places in a directory, the best first, the last for what we make.
fn places(directory: &Path, names: &[&str]) -> Vec<CertificateSource> {
    let at = |name: &&str| CertificateSource { place: None, ..named(&directory.join(name), &directory.join(name)) };
    names.iter().map(at).collect()
}

/// A keeper for one host, or a service of a host that is not there, with these places.
fn keeper(directory: &Path, names: &[&str], kind: WantedKind) -> Keeper {
    let (name, sources) = ("chat.test".to_owned(), places(directory, names));
    let plan = Plan {
        wanted: vec![Wanted { name, sources, how: "get one".to_owned(), kind }],
        is_federated: false,
        owner: None,
    };
    Keeper { plan, loaded: Vec::new(), stamps: Vec::new(), remarks: Vec::new(), look_at: None }
}

fn host() -> WantedKind {
    WantedKind::Host(Vec::new())
}

fn start(keeper: &mut Keeper) {
    let choice = choose("chat.test", &keeper.plan.wanted[0].sources, unix_seconds()).unwrap();
    let mut remarks = Vec::new();
    let loaded = first(&keeper.plan.wanted[0], choice, None, &mut remarks).unwrap();
    keeper.settle(loaded.into_iter().collect(), remarks);
}

fn shown(keeper: &Keeper) -> String {
    keeper.loaded[0].file.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn who_has_a_good_certificate_was_told_of_a_closed_directory() {
    let directory = crate::daemon::scratch("certificate-closed");
    // What cannot be read, whoever looks: as certbot's directory for the server's user.
    std::fs::create_dir(directory.join("closed")).unwrap();
    let told = |kind| {
        let mut keeper = keeper(&directory, &["closed", "own.pem"], kind);
        start(&mut keeper);
        keeper.problems().iter().any(|problem| problem.contains("closed cannot be read"))
    };
    // Its own make, that of an authority, the same when it has expired, and one for somebody else.
    assert!(told(host()));
    std::fs::write(directory.join("own.pem"), of_an_authority("chat.test", 30)).unwrap();
    assert!(!told(host()));
    for (name, days) in [("chat.test", -1), ("other.test", 30)] {
        std::fs::write(directory.join("own.pem"), of_an_authority(name, days)).unwrap();
        assert!(told(host()), "{name} {days}");
    }
    assert!(!told(WantedKind::Service("chat.test".to_owned())));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_reload_put_the_self_made_certificate_in_the_place_of_a_good_one() {
    let directory = crate::daemon::scratch("certificate-kept");
    let (best, own) = (directory.join("best.pem"), directory.join("own.pem"));
    let early = {
        let mut parameters = CertificateParams::new(vec!["chat.test".to_owned()]).unwrap();
        let now = OffsetDateTime::now_utc();
        (parameters.not_before, parameters.not_after) = (now + Duration::days(2), now + Duration::days(90));
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem() + &key.serialize_pem()
    };
    let good = of_an_authority("chat.test", 60);
    let whole = || std::fs::write(&best, &good).unwrap();
    let half = good.split_at(good.len() / 3).0.to_owned();
    let stranger = of_an_authority("chat.test", 60);
    let wrong_key = format!(
        "{}{}",
        good.split_at(good.find("-----BEGIN PRIVATE").unwrap()).0,
        stranger.split_at(stranger.find("-----BEGIN PRIVATE").unwrap()).1
    );
    for (what, says) in [
        (None, "best.pem is not there any more"),
        (Some(half), "best.pem is broken"),
        (Some(wrong_key), "does not belong to its first certificate"),
        (Some(of_an_authority("chat.test", -1)), "best.pem has expired"),
        (Some(of_an_authority("other.test", 60)), "best.pem is for other.test, not for chat.test"),
        (Some(early), "best.pem is not valid yet"),
        (Some(self_signed_pem("chat.test", &[]).unwrap()), "best.pem is self-made"),
    ] {
        // It was there when the server started, as root.
        std::fs::write(&own, self_signed_pem("chat.test", &[]).unwrap()).unwrap();
        whole();
        let mut keeper = keeper(&directory, &["best.pem", "own.pem"], host());
        start(&mut keeper);
        assert!(shown(&keeper) == "best.pem" && keeper.problems().is_empty(), "{:?}", keeper.problems());
        let first = Arc::clone(&keeper.loaded[0].certificate);
        match &what {
            None => std::fs::remove_file(&best).unwrap(),
            Some(text) => std::fs::write(&best, text).unwrap(),
        }
        assert!(keeper.reload(unix_seconds()).is_none(), "{says}");
        assert!(Arc::ptr_eq(&first, &keeper.loaded[0].certificate), "{says}");
        let [problem] = keeper.problems().try_into().unwrap();
        assert!(problem.contains(says) && problem.ends_with("the certificate loaded before stays in use"), "{problem}");
        // Once it has ended it is worth no more than what others gave, or than ours where its file is gone.
        let later = first.expires_unix_seconds() + 1;
        keeper.reload(later);
        let is_hidden = ["best.pem is broken", "does not belong to its first certificate"].contains(&says);
        assert_eq!(Arc::ptr_eq(&first, &keeper.loaded[0].certificate), is_hidden, "{says}");
        // Mended, it is taken again, and nothing is left to say.
        whole();
        let mut keeper = self::keeper(&directory, &["best.pem", "own.pem"], host());
        start(&mut keeper);
        std::fs::remove_file(&best).unwrap();
        keeper.reload(unix_seconds());
        whole();
        assert!(keeper.reload(unix_seconds()).is_none() && keeper.problems().is_empty(), "{:?}", keeper.problems());
        std::fs::write(&best, of_an_authority("chat.test", 30)).unwrap();
        assert!(keeper.reload(unix_seconds()).is_some(), "a good one in the same place, whenever it ends");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_the_deploy_hook_gave_was_hidden_by_the_file_that_root_read() {
    let directory = crate::daemon::scratch("certificate-given");
    let (best, own) = (directory.join("best.pem"), directory.join("own.pem"));
    std::fs::write(&best, of_an_authority("chat.test", 30)).unwrap();
    // The copy of an earlier one.
    std::fs::write(&own, of_an_authority("chat.test", 10)).unwrap();
    let mut keeper = keeper(&directory, &["best.pem", "own.pem"], host());
    start(&mut keeper);
    assert_eq!(shown(&keeper), "best.pem");
    // Closed, as certbot's directory is for the server's user.
    let close = |best: &Path| {
        std::fs::remove_file(best).unwrap();
        std::fs::create_dir(best).unwrap();
    };
    close(&best);
    keeper.look_again_as_user();
    assert!(keeper.problems()[0].contains("best.pem was read as root"), "{:?}", keeper.problems());
    assert!(keeper.reload(unix_seconds()).is_none());
    assert!(keeper.problems()[0].contains("best.pem cannot be read"), "{:?}", keeper.problems());
    // The renewed one, by the hook.
    std::fs::write(&own, of_an_authority("chat.test", 90)).unwrap();
    assert!(keeper.reload(unix_seconds()).is_some());
    assert_eq!((shown(&keeper).as_str(), keeper.problems()), ("own.pem", Vec::new()));
    // A start after that: the same in both places.
    std::fs::remove_dir(&best).unwrap();
    std::fs::copy(&own, &best).unwrap();
    start(&mut keeper);
    assert_eq!(shown(&keeper), "best.pem");
    close(&best);
    keeper.look_again_as_user();
    assert_eq!((shown(&keeper).as_str(), keeper.problems()), ("own.pem", Vec::new()));
    assert!(keeper.reload(unix_seconds()).is_none() && keeper.problems().is_empty());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_start_showed_what_clients_refuse_where_a_good_one_lay_beside_it() {
    let directory = crate::daemon::scratch("certificate-best");
    let good = of_an_authority("chat.test", 60);
    for (best, own, expected) in [
        (of_an_authority("chat.test", -1), good.clone(), "own.pem"),
        (of_an_authority("other.test", 60), good.clone(), "own.pem"),
        ("half a file".to_owned(), good.clone(), "own.pem"),
        (of_an_authority("chat.test", 30), good, "best.pem"),
        // Clients refuse both: the admin shall see the one that was given.
        (of_an_authority("chat.test", -1), self_signed_pem("chat.test", &[]).unwrap(), "best.pem"),
    ] {
        std::fs::write(directory.join("best.pem"), best).unwrap();
        std::fs::write(directory.join("own.pem"), own).unwrap();
        let mut keeper = keeper(&directory, &["best.pem", "own.pem"], host());
        start(&mut keeper);
        assert_eq!(shown(&keeper), expected);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_pipe_or_a_device_held_the_server_up() {
    let directory = crate::daemon::scratch("certificate-pipe");
    let pipe = directory.join("pipe.pem");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let device = directory.join("device.pem");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let long = directory.join("long.pem");
    File::create(&long).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    for (path, says) in [(pipe, "no regular file"), (device, "no regular file"), (long, "larger than 1048576")] {
        let error = read_bounded(&path).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn bad_files_are_told_with_their_remedy() {
    let directory = crate::daemon::scratch("certificate-bad");
    let (chain, key) = pair("chat.test");
    let other_key = pair("chat.test").1;
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let (certificate, key_file) = (directory.join("chain.pem"), directory.join("key.pem"));
    for (chain, key, expected) in [
        (chain.as_str(), other_key.as_str(), "key.pem (jabber.xml) has a key that does not belong to its first"),
        (chain.as_str(), locked, "key.pem (jabber.xml) has a key locked by a passphrase"),
        (chain.as_str(), "", "key.pem (jabber.xml) has no PRIVATE KEY block"),
        (key.as_str(), key.as_str(), "chain.pem (jabber.xml) has no CERTIFICATE block"),
        (broken, key.as_str(), "chain.pem (jabber.xml) is broken"),
    ] {
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key_file, key).unwrap();
        let mut config = config("chat.test", &directory);
        config.certificates.push(named(&certificate, &key_file));
        let error = Keeper::load(&config, None).err().unwrap();
        assert!(error.0.contains(expected), "{error}");
    }
    let mut config = config("chat.test", &directory);
    config.certificates.push(named(&directory.join("missing.pem"), &key_file));
    let error = Keeper::load(&config, None).err().unwrap();
    assert!(error.0.contains("missing.pem (jabber.xml) cannot be read: No such file"), "{error}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_changed_file_is_taken_over_and_a_broken_one_is_not() {
    let directory = crate::daemon::scratch("certificate-changed");
    let both = directory.join("both.pem");
    let (chain, key) = pair("chat.test");
    // jabberd 1.4 had the key and the chain in one file, in any order.
    std::fs::write(&both, format!("{key}{chain}")).unwrap();
    let mut config = config("chat.test", &directory);
    config.certificates.push(named(&both, &both));
    let (mut keeper, _) = Keeper::load(&config, None).unwrap();
    let first = Arc::clone(&keeper.loaded[0].certificate);
    assert!(keeper.check().is_none(), "nothing changed");
    std::fs::write(&both, &chain).unwrap();
    assert!(keeper.check().is_none(), "no key");
    assert!(keeper.problems()[0].contains("has no PRIVATE KEY block"));
    assert!(Arc::ptr_eq(&first, &keeper.loaded[0].certificate));
    let (chain, key) = pair("chat.test");
    std::fs::write(&both, format!("{chain}{key}")).unwrap();
    assert!(keeper.check().is_some());
    assert!(!keeper.loaded[0].certificate.is_same(&first));
    assert!(keeper.check().is_none());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_service_shows_its_hosts_certificate_or_its_own() {
    let directory = crate::daemon::scratch("certificate-services");
    let files = |name: &str| (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    for name in ["chat.test", "users.chat.test"] {
        let ((chain_file, key_file), (chain, key)) = (files(name), pair(name));
        std::fs::write(chain_file, chain).unwrap();
        std::fs::write(key_file, key).unwrap();
    }
    let mut config = config("chat.test", &directory);
    config.federation = Some(crate::config::Federation::default());
    let (chain, key) = files("chat.test");
    config.certificates.push(named(&chain, &key));
    let (keeper, _) = Keeper::load(&config, None).unwrap();
    let shared: Vec<(&str, &str)> = keeper.sharing().map(|(service, loaded)| (service, loaded.host.as_str())).collect();
    assert!(shared.contains(&("users.chat.test", "chat.test")), "{shared:?}");
    let (chain, key) = files("users.chat.test");
    let domains = vec!["users.chat.test".to_owned()];
    config.certificates.push(CertificateSource { domains, is_default: false, ..named(&chain, &key) });
    let (keeper, _) = Keeper::load(&config, None).unwrap();
    assert!(keeper.sharing().all(|(service, _)| service != "users.chat.test"));
    let own = keeper.loaded.iter().find(|loaded| loaded.host == "users.chat.test").unwrap();
    assert_eq!(own.certificate.names(), ["users.chat.test"]);
    std::fs::remove_dir_all(directory).unwrap();
}
