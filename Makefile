# What people do with this checkout. `make help` lists it.
# build, run and test need a C compiler, make and Rust (1.85 or later) besides Debian's base, and install nothing.

CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
DESTDIR ?=
prefix ?= /usr
DEB = target/deb
T ?=
F ?= reader
PORT ?= 5222
SUITES ?= bookworm
CASES ?=
N ?= 2000

.PHONY: build release run test check fmt clippy tidy doc talk live interop federation bench bench-sockets \
	bench-federation fuzz specs deb package-test package-chroots install dist manual copyright copyright-check clean help

build: ## build the server (target/debug/jabberd)
	$(CARGO) build --locked

release: ## build the server as it is shipped (target/release/jabberd)
	$(CARGO) build --locked --release

run: build ## serve localhost on loopback, with two accounts; PORT=5222
	sh tests/run-local target/debug/jabberd $(PORT)

test: ## all tests that need nothing but this checkout
	$(CARGO) test --locked

check: fmt clippy tidy test doc ## what must pass before a commit

fmt: ## the layout of the code is rustfmt's
	$(CARGO) fmt --check

clippy: ## no warnings
	$(CARGO) clippy --locked --all-targets -- -D warnings

tidy: ## the walls of the house
	$(CARGO) test --locked --test tidy -- --nocapture

doc: ## the guide for developers (target/doc/jabber)
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --locked --no-deps --lib --document-private-items

talk: ## one talk, printed as it is spoken: T=ping
	TALK=$(T) $(CARGO) test --locked --test talks -- --nocapture

live: ## the talks against the real server over TCP and TLS: T=ping
	TALK=$(T) $(CARGO) test --locked --test live -- --nocapture

interop: build ## real clients; installs what it needs under target/interop
	tests/interop/run

federation: build ## other servers, with a DNS and a network of their own; needs tests/interop/federation/needs
	tests/interop/federation/run

bench: ## figures
	$(CARGO) bench --locked

bench-sockets: release ## memory of idle sessions of the real server: N=2000
	tests/bench/sockets target/release/jabberd $(N)

bench-federation: release ## messages per second between two servers, ours and Prosody
	JABBERD=$(CURDIR)/target/release/jabberd tests/interop/federation/run --bench

fuzz: ## feed a part of the server with noise: F=reader FUZZ_SECONDS=60
	FUZZ=$(F) $(CARGO) test --locked --test fuzz -- --nocapture

# Which section of which spec is obeyed, and where.
specs: ## where each section of each RFC and XEP is cited
	@grep -rnoE '(RFC [0-9]+|XEP-[0-9]{4})( §[0-9A-Z][0-9.]*)?' src tests --include=*.rs --include=*.talk | \
		grep -v '^tests/tidy' | sed -E 's/^([^:]+:[0-9]+):(.*)$$/\2\t\1/; s/\.\t/\t/' | LC_ALL=C sort -V | \
		awk -F'\t' '$$1 != last { printf "%s%s\n", (NR > 1 ? "\n" : ""), $$1; last = $$1 } { print "    " $$2 }'

deb: ## the Debian package, target/deb/jabber_*.deb; on Debian 12 and 13
	sh debian/build $(DEB)

package-test: ## as root: install the package here, use it, upgrade, remove, purge
	sh tests/package/run $(DEB)

package-chroots: ## as root: the same and more in clean chroots of debootstrap: SUITES="bookworm trixie" CASES="build old"
	tests/package/chroots $(SUITES) $(CASES)

install: release ## DESTDIR= prefix=/usr; the package is the better way
	install -D -m 755 target/release/jabberd $(DESTDIR)$(prefix)/sbin/jabberd
	install -D -m 755 target/release/jabberctl $(DESTDIR)$(prefix)/sbin/jabberctl
	install -D -m 644 init/completion/jabberctl $(DESTDIR)$(prefix)/share/bash-completion/completions/jabberctl
	install -D -m 644 init/completion/_jabberctl $(DESTDIR)$(prefix)/share/zsh/vendor-completions/_jabberctl
	install -D -m 644 man/jabberctl.8 $(DESTDIR)$(prefix)/share/man/man8/jabberctl.8
	install -D -m 755 init/jabberd-settings $(DESTDIR)$(prefix)/libexec/jabber/jabberd-settings
	install -D -m 644 etc/jabber.xml $(DESTDIR)$(prefix)/share/jabber/jabber.xml
	install -D -m 644 man/jabberd.8 $(DESTDIR)$(prefix)/share/man/man8/jabberd.8
	install -D -m 644 man/jabber.xml.5 $(DESTDIR)$(prefix)/share/man/man5/jabber.xml.5
	install -D -m 755 init/jabber $(DESTDIR)/etc/init.d/jabber
	install -D -m 644 init/jabber.service $(DESTDIR)/lib/systemd/system/jabber.service

manual: build ## renew what is made from jabberctl's table of commands
	target/debug/jabberctl help --as man > man/jabberctl.8
	target/debug/jabberctl help --as bash > init/completion/jabberctl
	target/debug/jabberctl help --as zsh > init/completion/_jabberctl

dist: ## a source tarball that builds without a network (target/jabber-VERSION.tar.xz)
	sh debian/dist $(VERSION)

copyright: ## renew debian/copyright after a change of Cargo.lock
	python3 debian/copyright.py > target/copyright && mv target/copyright debian/copyright

copyright-check: ## does debian/copyright say what the crates say that a build brought here?
	python3 debian/copyright.py --check

clean:
	$(CARGO) clean

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14
