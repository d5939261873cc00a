# shellcheck shell=sh
# Shared by ./run and ./test: what is missing is installed, a build directory is configured and built.
# Sourced from the top of the repository, under `set -eu`.

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "$0: $*"
	exit 1
}

any_exists() {
	[ -e "$1" ] || [ $# -gt 1 ]
}

# Is what the third column of tools/packages names there?
is_there() {
	# A * in a path is the shell's to fill in.
	# shellcheck disable=SC2086
	case $1 in
	/*) any_exists $1 ;;
	pc:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc:}" ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# missing_packages GROUP...: their names on one line. No package manager is asked, so this takes no
# time, and tools that were installed in another way count.
missing_packages() {
	while read -r group package witness; do
		case " $* " in
		*" $group "*) is_there "$witness" || printf '%s ' "$package" ;;
		esac
	done <tools/packages
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# install_packages GROUP...: false, with the reason on standard error, where that cannot be done.
install_packages() {
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	say "missing: $missing"
	if ! command -v apt-get >/dev/null; then
		say "There is no apt-get here. Install what these Debian packages hold, then try again."
		return 1
	fi
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		say "That takes root, and there is no sudo. As root run:"
		say "    apt-get install $missing"
		return 1
	fi
	log=$(mktemp)
	# Word splitting is wanted: a list of names. Standard input is closed, for nobody may be there to
	# answer; an index that cannot be renewed is no failure as long as the packages can be had.
	# shellcheck disable=SC2086
	if { as_root apt-get -q -o Acquire::Retries=2 update || say "apt-get update failed"; } \
		>"$log" 2>&1 </dev/null &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=2 \
			-o DPkg::Lock::Timeout=120 install --no-install-recommends $missing \
			>>"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return 0
	fi
	tail -n 25 "$log" >&2
	rm -f "$log"
	say "apt-get could not install them: its last words are above."
	return 1
}

# build_in DIRECTORY MESON-OPTION...: configures once, then lets ninja decide what is out of date.
# Silent unless something fails.
build_in() {
	dir=$1
	shift
	mkdir -p "$dir"
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$dir" "$@" >"$dir/setup.log" 2>&1 || {
			cat "$dir/setup.log" >&2
			return 1
		}
	fi
	ninja -C "$dir" >"$dir/ninja.log" 2>&1 || {
		tail -n 60 "$dir/ninja.log" >&2
		return 1
	}
}
