# sampan: build, try, test, install, package.  `make help` lists the targets.
#
# Variables, all optional:
#   CARGO_TARGET_DIR  where cargo builds (default: target)
#   PROFILE           release (default) or dev
#   CARGOFLAGS        more arguments for cargo, such as --offline
#   DESTDIR           prefix of every installed path, for packagers
#   PREFIX            /usr; units, generator and policy name each other below /usr, so
#                     another PREFIX only makes sense for a tree that is moved later
#   SYSCONFDIR        /etc

CARGO      ?= cargo
PROFILE    ?= release
CARGOFLAGS ?=
INSTALL    ?= install
DESTDIR    ?=
PREFIX     ?= /usr
SYSCONFDIR ?= /etc

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

bin        := $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
crates     := -p sampan -p sampan-status -p sampan-generator
programs   := $(addprefix $(bin)/,sampan sampan-runtime sampan-scope sampand sampan-generator)
generated  := $(bin)/generated
version    := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

bindir     := $(DESTDIR)$(PREFIX)/bin
libexecdir := $(DESTDIR)$(PREFIX)/libexec/sampan
unitdir    := $(DESTDIR)$(PREFIX)/lib/systemd
datadir    := $(DESTDIR)$(PREFIX)/share
confdir    := $(DESTDIR)$(SYSCONFDIR)

# The OCI runtime starts several times for each container, and half of such a start would be the dynamic loader's work.
# So it is linked statically where the libraries are there for it (on Rocky: glibc-static and libseccomp-static), with
# the functions that a start needs side by side: half as many of its pages come into memory.
archives := $(foreach name,libc.a libseccomp.a,$(wildcard $(shell $(CC) -print-file-name=$(name))))
ifeq ($(PROFILE) $(words $(archives)),release 2)
export LIBSECCOMP_LINK_TYPE := static
export LIBSECCOMP_LIB_PATH := $(dir $(lastword $(archives)))
static := -- -C target-feature=+crt-static -C link-arg=-T$(CURDIR)/runtime/oci/order.ld
# The start code of glibc 2.36 knows relocations in packed form, which are 270 KiB less to read at each start.
packed := \#include <features.h>\n\#if __GLIBC_PREREQ(2, 36)\nyes\n\#endif\n
ifeq ($(shell printf '$(packed)' | $(CC) -E -P -),yes)
static += -C link-arg=-Wl,-z,pack-relative-relocs
endif
endif

define compile
	$(CARGO) build --profile $(PROFILE) --locked $(CARGOFLAGS) $(crates) --bins
	$(CARGO) build --profile $(PROFILE) --locked $(CARGOFLAGS) -p sampan-oci --bin sampan-scope
	$(CARGO) rustc --profile $(PROFILE) --locked $(CARGOFLAGS) -p sampan-oci --bin sampan-runtime $(static)
endef

.DEFAULT_GOAL := build
.PHONY: all build try test bench check deps generated install rpm srpm clean help

all: build

build: ## build the programs
	$(compile)

try: ## start examples/web.container under a throw-away systemd, fetch its page, clean up
	tests/try

test: ## run every test: unit, fixture, package, machine and virtual machine
	tests/run

bench: ## measure container start and the generator beside their floors
	tests/bench/run

check: ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked $(CARGOFLAGS) -- -D warnings

deps: ## install what building and packaging need, through apt-get or dnf
	packaging/deps build rpm

# `install` of a tree that is built already runs no compiler.
$(programs):
	$(compile)

generated: $(programs) ## man pages, JSON schema and shell completions, written by the programs themselves
	rm -rf $(generated)
	mkdir -p $(generated)/man $(generated)/completions
	$(bin)/sampan man $(generated)/man
	$(bin)/sampan schema >$(generated)/quadlet.schema.json
	for shell in bash zsh fish; do \
		$(bin)/sampan completions $$shell >$(generated)/completions/$$shell || exit 1; \
		$(bin)/sampan-runtime completions $$shell >$(generated)/completions/runtime.$$shell || exit 1; \
	done

install: generated ## install below DESTDIR
	$(INSTALL) -D -m 755 -t $(bindir) $(bin)/sampan $(bin)/sampan-runtime
	$(INSTALL) -D -m 755 -t $(libexecdir) $(bin)/sampand $(bin)/sampan-scope
	$(INSTALL) -D -m 755 -t $(unitdir)/system-generators $(bin)/sampan-generator
	$(INSTALL) -d $(unitdir)/user-generators
	ln -sfn ../system-generators/sampan-generator $(unitdir)/user-generators/sampan-user-generator
	$(INSTALL) -D -m 644 -t $(unitdir)/system packaging/systemd/*.service packaging/systemd/*.timer
	for unit in nftables firewalld; do \
		$(INSTALL) -d $(unitdir)/system/$$unit.service.wants && \
		ln -sfn ../sampan-firewall@.service \
			$(unitdir)/system/$$unit.service.wants/sampan-firewall@$$unit.service || exit 1; \
	done
	ln -sfn ../sampan-firewall-stop@.service \
		$(unitdir)/system/nftables.service.wants/sampan-firewall-stop@nftables.service
	$(INSTALL) -D -m 644 packaging/firewalld/zone.xml $(DESTDIR)$(PREFIX)/lib/firewalld/zones/sampan.xml
	$(INSTALL) -D -m 644 packaging/udev/86-sampan.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/86-sampan.rules
	$(INSTALL) -D -m 644 -t $(unitdir)/system-preset packaging/systemd/90-sampan.preset
	$(INSTALL) -D -m 644 packaging/systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/sampan.conf
	$(INSTALL) -D -m 644 -t $(datadir)/dbus-1/system.d packaging/dbus/*.conf
	$(INSTALL) -D -m 644 -t $(datadir)/dbus-1/system-services packaging/dbus/*.service
	$(INSTALL) -D -m 644 -t $(datadir)/polkit-1/actions packaging/polkit/*.policy
	$(INSTALL) -D -m 644 $(generated)/completions/bash $(datadir)/bash-completion/completions/sampan
	$(INSTALL) -D -m 644 $(generated)/completions/zsh $(datadir)/zsh/site-functions/_sampan
	$(INSTALL) -D -m 644 $(generated)/completions/fish $(datadir)/fish/vendor_completions.d/sampan.fish
	$(INSTALL) -D -m 644 $(generated)/completions/runtime.bash $(datadir)/bash-completion/completions/sampan-runtime
	$(INSTALL) -D -m 644 $(generated)/completions/runtime.zsh $(datadir)/zsh/site-functions/_sampan-runtime
	$(INSTALL) -D -m 644 $(generated)/completions/runtime.fish $(datadir)/fish/vendor_completions.d/sampan-runtime.fish
	for page in man/*.[1-8] $(generated)/man/*.[1-8]; do \
		$(INSTALL) -D -m 644 -t $(datadir)/man/man$${page##*.} $$page || exit 1; \
	done
	$(INSTALL) -D -m 644 -t $(datadir)/sampan $(generated)/quadlet.schema.json
	$(INSTALL) -D -m 644 -t $(confdir)/sampan packaging/sampan.toml
	$(INSTALL) -d $(confdir)/sampan/systemd $(confdir)/containers/systemd
	$(INSTALL) -D -m 644 -t $(datadir)/licenses/sampan LICENSE
	$(INSTALL) -D -m 644 -t $(datadir)/doc/sampan README.md CHANGELOG.md
	$(INSTALL) -D -m 644 -t $(datadir)/doc/sampan/examples examples/*.container examples/*.network examples/*.volume
	$(INSTALL) -d -m 711 $(DESTDIR)/var/lib/sampan
	$(INSTALL) -d -m 755 $(DESTDIR)/var/cache/sampan

rpm: build ## build the binary RPMs below $CARGO_TARGET_DIR/rpm from this work tree
	packaging/rpm/build binary

srpm: ## build a source RPM with its dependencies vendored
	packaging/rpm/build source

clean: ## remove what cargo and rpmbuild wrote
	$(CARGO) clean
	rm -rf $(CARGO_TARGET_DIR)/rpm

help:
	@echo 'sampan $(version)'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
