# For scripts of this folder: start a server as tests/e2e does, and a Python with
# pinned clients in build/clients.  Exits 77 where pip cannot reach its index.
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/common.sh"

clients_python() { # REQUIREMENT... ; sets $PYTHON
	local venv=$ROOT/build/clients/venv stamp
	stamp=$ROOT/build/clients/$(printf '%s_' "$@" | tr -c 'A-Za-z0-9._\n' '-')
	PYTHON=$venv/bin/python
	[ -x "$PYTHON" ] && [ -e "$stamp" ] && return 0
	mkdir -p "$ROOT/build/clients"
	if ! python3 -m venv "$venv" >"$WORK/pip.log" 2>&1 ||
		! "$PYTHON" -m pip install -q --disable-pip-version-check --retries 1 \
			--timeout 20 "$@" >>"$WORK/pip.log" 2>&1; then
		echo "skipped: pip could not install $*: $(tail -n 1 "$WORK/pip.log")"
		exit 77
	fi
	touch "$stamp"
}
