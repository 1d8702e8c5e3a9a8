# Cross-building for arm64 by Debian's own tools, in a tree of Debian 12 that is kept; to be sourced. Needs root, debootstrap and systemd-nspawn.

cross_tree=${SESSION_STORE_TEST_CACHE:-/var/cache/session-store-tests}/cross-arm64

# Makes the tree where it is missing, from where this machine's apt gets its own packages.
cross_prepare() {
  [[ -d $cross_tree ]] && return
  ((EUID == 0)) || { echo "packaging/build: the tools for arm64 are set up as root" >&2; return 1; }
  local new=$cross_tree.new mirror file
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | sed -n 1p)
  rm -rf "$new"
  mkdir -p "${cross_tree%/*}"
  debootstrap --variant=minbase bookworm "$new" "$mirror" >"$cross_tree.log" 2>&1 || { tail -5 "$cross_tree.log" >&2; return 1; }
  # Security updates too: a compiler that is new enough is among them.
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources /etc/apt/apt.conf.d/*proxy*; do
    if [[ -e $file ]]; then cp "$file" "$new$file"; fi
  done
  systemd-nspawn --quiet --register=no --keep-unit --resolv-conf=copy-host --directory="$new" sh -euc '
    dpkg --add-architecture arm64
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustc-web cargo-web gcc libc6-dev gcc-aarch64-linux-gnu \
      libc6-dev:arm64 libstd-rust-web-dev:arm64' >>"$cross_tree.log" 2>&1 </dev/null || { tail -5 "$cross_tree.log" >&2; return 1; }
  mv "$new" "$cross_tree"
}

# Builds the program into $CARGO_TARGET_DIR. The crates come from this machine's cargo.
cross_build() {
  local home=${CARGO_HOME:-$HOME/.cargo}
  cross_prepare
  cargo fetch --quiet --locked
  systemd-nspawn --quiet --register=no --keep-unit --directory="$cross_tree" --volatile=overlay --bind="$PWD" --bind="$home" --chdir="$PWD" \
    --setenv=CARGO_HOME="$home" --setenv=CARGO_TARGET_DIR="$CARGO_TARGET_DIR" --setenv=CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-$(nproc)}" \
    --setenv=CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS" --setenv=CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    cargo build --quiet --locked --offline --release --target aarch64-unknown-linux-gnu --bin session-store </dev/null
}
