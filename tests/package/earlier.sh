# A package of an earlier commit, for the upgrade from it; to be sourced after container.sh.

# The last commit whose store has a format before this one's; nothing where the history does not reach it, as in a shallow clone.
earlier_commit() {
  local since
  since=$(git log -1 --format=%H -G'^pub const FORMAT: u32 = ' -- src/store/schema.rs 2>/dev/null || true)
  if [[ $since ]]; then git rev-parse --quiet --verify "$since^" || true; fi
}

# Its package, made from a clone below the cache and kept there; fails where that cannot be built here. Quick to build rather than
# small: it is only upgraded from.
earlier_package() (
  kept=$cache/earlier
  mkdir -p "$cache"
  exec 8>"$cache/earlier.lock"
  flock -w 900 8 || exit 1
  if [[ ! -e $kept/$1.deb ]]; then
    rm -rf "$kept"
    mkdir "$kept"
    git clone --quiet --shared --no-checkout . "$kept/clone" && git -C "$kept/clone" checkout --quiet --detach "$1" || exit 1
    unset SOURCE_DATE_EPOCH
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    built=$("$kept/clone/packaging/build" 8>&-) && [[ -f $kept/clone/$built ]] || exit 1
    mv "$kept/clone/$built" "$kept/$1.deb" || exit 1
    rm -rf "$kept/clone"
  fi
  echo "$kept/$1.deb"
)

# Up to which format of the store a package knows.
format_of() {
  sed -n "s/^format='\(.*\)'/\1/p" <(dpkg-deb --ctrl-tarfile "$1" | tar -xO ./preinst)
}
