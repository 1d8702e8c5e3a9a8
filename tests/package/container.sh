# A Debian with systemd, booted from a tree that is kept and never changed; to be sourced.

cache=${SESSION_STORE_TEST_CACHE:-/var/cache/session-store-tests}

# Why the container cannot be had here; nothing where it can.
container_lacks() {
  if ((EUID != 0)); then
    echo "it needs root"
  elif ! command -v systemd-nspawn >/dev/null || ! command -v debootstrap >/dev/null || ! command -v lintian >/dev/null; then
    echo "systemd-nspawn, debootstrap and lintian are not all installed"
  elif ! unshare --mount --net --pid --fork true 2>/dev/null; then
    echo "this machine allows no namespaces"
  fi
}

# Makes the tree of a suite where it is missing, from where this machine's apt gets its own packages.
container_base() {
  local suite=$1
  base=$cache/$suite
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -w 600 9
  [[ -d $base ]] && return
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | sed -n 1p)
  rm -rf "$base.new"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl "$suite" "$base.new" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
    { tail -5 "$cache/debootstrap.log" >&2; return 1; }
  rm -rf "$base.new/var/cache/apt/archives/"*.deb
  mv "$base.new" "$base"
}

container_boot() {
  systemd-nspawn --quiet --register=no --keep-unit --private-network --volatile=overlay --console=read-only \
    --machine="session-store-test-$$" --directory="$base" --boot </dev/null >"$work/console" 2>&1 9>&- &
  container=$!
  leader=
  for _ in {1..300}; do
    leader=$(cat "/proc/$container/task/$container/children" 2>/dev/null || true)
    leader=${leader%% *}
    [[ $leader && $(inside 'systemctl is-system-running' 2>/dev/null || true) =~ ^(running|degraded)$ ]] && return
    sleep 0.1
  done
  echo "the container does not boot:" >&2
  tail -20 "$work/console" >&2
  return 1
}

container_end() {
  [[ ${container:-} ]] || return 0
  kill "$container" 2>/dev/null || true
  for _ in {1..50}; do
    kill -0 "$container" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$container" 2>/dev/null; then
    kill -9 "$leader" "$container" 2>/dev/null || true
  fi
  container=
  leader=
}

# Runs a script inside, as root.
inside() {
  nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- /bin/sh -euc "cd /root; $1" sh "${@:2}"
}

# Brings a file in.
put() {
  inside 'cat >"$1"' "$2" <"$1"
}
