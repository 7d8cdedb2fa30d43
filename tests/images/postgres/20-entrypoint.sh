cat >/usr/local/bin/docker-entrypoint.sh <<'SH'
#!/bin/sh
# As in the official image: an empty data folder is filled first, and root is given up.
set -e
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA"
	chown postgres "$PGDATA"
	chmod 700 "$PGDATA"
	exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
	[ -n "$POSTGRES_PASSWORD" ] || { echo 'POSTGRES_PASSWORD is not set' >&2; exit 1; }
	echo "$POSTGRES_PASSWORD" >/tmp/password
	initdb --username=postgres --pwfile=/tmp/password --auth-host=scram-sha-256 --no-sync
	rm /tmp/password
	printf "host all all all scram-sha-256\n" >>"$PGDATA/pg_hba.conf"
	printf "listen_addresses = '*'\nunix_socket_directories = '/tmp'\n" >>"$PGDATA/postgresql.conf"
fi
exec "$@"
SH
chmod 755 /usr/local/bin/docker-entrypoint.sh
rm -rf /var/lib/postgresql/data
mkdir -p /var/lib/postgresql/data /run/postgresql
chown -R postgres:postgres /var/lib/postgresql/data
