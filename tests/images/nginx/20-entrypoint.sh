cat >/docker-entrypoint.sh <<'SH'
#!/bin/sh
# As in the official image: prepare, then become the program that was asked for.
set -e
for script in /docker-entrypoint.d/*.sh; do
	[ -x "$script" ] && "$script"
done
exec "$@"
SH
chmod 755 /docker-entrypoint.sh
mkdir /docker-entrypoint.d
