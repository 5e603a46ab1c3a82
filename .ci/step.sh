# step NAME COMMAND...: run it, print what and how long; end the script when it fails.
step() {
    local name="$1" start=$SECONDS
    shift
    echo "== $name: $*"
    if ! "$@"; then
        echo "== $name: FAILED after $((SECONDS - start)) s" >&2
        exit 1
    fi
    echo "== $name: $((SECONDS - start)) s"
}
