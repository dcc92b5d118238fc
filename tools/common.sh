# Sourced by ./dev and tools/*.sh: messages, build directories, the list of source files. Needs RAYX_ROOT.
# shellcheck shell=bash

# The distribution's meson, ninja and python first: a pyenv or conda in PATH may shadow them with other versions.
export PATH="/usr/bin:/bin:$PATH"
RAYX_JOBS="${RAYX_JOBS:-$(nproc)}"
# What one build folder has compiled, the next one finds, also with debug information.
export CCACHE_NOHASHDIR=1

say() { printf 'rayx: %s\n' "$*"; }

# die STATUS LINE…: prints the lines to stderr and ends with STATUS.
die() {
  local status="$1"
  shift
  printf 'rayx: %s\n' "$@" >&2
  exit "$status"
}

# configure_build NAME [MESON-ARGS…]: makes build/NAME ready for ninja. A directory that was configured with other
# arguments, by another compiler or for another checkout is made anew; ccache makes that cheap.
configure_build() {
  local name="$1" dir="$RAYX_ROOT/build/$1"
  shift
  local stamp="$RAYX_ROOT|${CXX:-}|$*"
  if [[ -f "$dir/build.ninja" && -f "$dir/.rayx-configured" && "$(<"$dir/.rayx-configured")" == "$stamp" ]]; then
    return 0
  fi
  rm -rf "$dir"
  mkdir -p "$dir"
  if ! meson setup "$dir" "$RAYX_ROOT" "$@" >"$dir.configure.log" 2>&1; then
    cat "$dir.configure.log" >&2
    rm -rf "$dir"
    die 1 "meson could not configure build/$name; its output is above." \
      "If it misses a package, add it to tools/packages.txt or install it; './dev setup' checks the list."
  fi
  printf '%s' "$stamp" >"$dir/.rayx-configured"
}

# compile_build NAME [TARGETS…]: quiet unless something fails.
compile_build() {
  local dir="$RAYX_ROOT/build/$1"
  shift
  if ! ninja -C "$dir" -j "$RAYX_JOBS" --quiet "$@" | { grep -v --line-buffered '^ninja: no work to do' || true; }; then
    die 1 "the build in ${dir#"$RAYX_ROOT/"} failed; the compiler's messages are above."
  fi
}

# has_target NAME TARGET: true if build/NAME knows how to make TARGET.
has_target() { ninja -C "$RAYX_ROOT/build/$1" -t query "$2" >/dev/null 2>&1; }

# list_files GLOB…: tracked files, and new ones that git does not ignore; without git, all but build/.
list_files() {
  if git -C "$RAYX_ROOT" rev-parse --git-dir >/dev/null 2>&1; then
    (cd "$RAYX_ROOT" && git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
      while IFS= read -r file; do [[ -f "$file" ]] && printf '%s\n' "$file"; done) || true
  else
    local patterns=() glob
    for glob in "$@"; do patterns+=(-o -name "${glob##*/}"); done
    (cd "$RAYX_ROOT" && find . -path ./build -prune -o -path ./.git -prune -o -type f \( "${patterns[@]:1}" \) -print |
      sed 's|^\./||' | sort)
  fi
}
